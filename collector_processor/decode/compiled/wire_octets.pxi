# Octets: little-endian words, UTF-8, hashes of ids, and dictionaries of texts. No function reads at or beyond an end.

ctypedef const uint8_t* Octets

cdef enum:
    LONGEST_PROBE = 128

cdef extern from *:
    """
    #define OTEL_ML_SEED_A 0x243F6A8885A308D3ULL
    #define OTEL_ML_SEED_B 0x13198A2E03707344ULL
    #define OTEL_ML_P 0x9E3779B97F4A7C15ULL
    #define OTEL_ML_Q 0xC2B2AE3D27D4EB4FULL
    #define OTEL_ML_STEP_A 0x52DCE729ULL
    #define OTEL_ML_STEP_B 0x38495AB5ULL
    #define OTEL_ML_F1 0xBF58476D1CE4E5B9ULL
    #define OTEL_ML_F2 0x94D049BB133111EBULL
    #define OTEL_ML_HIGH_BITS 0x8080808080808080ULL
    #ifdef __GNUC__  /* compilers do not inline small functions with several callers, which costs a third of the speed */
    #undef CYTHON_INLINE
    #define CYTHON_INLINE inline __attribute__((always_inline))
    #endif
    """
    const uint64_t SEED_A "OTEL_ML_SEED_A"
    const uint64_t SEED_B "OTEL_ML_SEED_B"
    const uint64_t P "OTEL_ML_P"
    const uint64_t Q "OTEL_ML_Q"
    const uint64_t STEP_A "OTEL_ML_STEP_A"
    const uint64_t STEP_B "OTEL_ML_STEP_B"
    const uint64_t F1 "OTEL_ML_F1"
    const uint64_t F2 "OTEL_ML_F2"
    const uint64_t HIGH_BITS "OTEL_ML_HIGH_BITS"


cdef struct Text:
    Octets at
    int32_t size
    uint32_t hash


cdef struct Texts:
    # Distinct texts by code, with open addressing over them; equality never depends on the hash alone.
    Text* entries
    int32_t count
    int32_t room
    int32_t* slots
    uint32_t mask


cdef inline uint64_t word_at(Octets at) noexcept nogil:
    """Eight octets as a little-endian number; compilers turn this into one load."""
    return (
        <uint64_t>at[0] | (<uint64_t>at[1] << 8) | (<uint64_t>at[2] << 16) | (<uint64_t>at[3] << 24)
        | (<uint64_t>at[4] << 32) | (<uint64_t>at[5] << 40) | (<uint64_t>at[6] << 48) | (<uint64_t>at[7] << 56)
    )


cdef inline uint64_t last_word(Octets at, Py_ssize_t left, Py_ssize_t size) noexcept nogil:
    """The ``left`` (1 … 8) octets at the end of an octet string of ``size``, zeros above them."""
    cdef uint64_t word = 0
    cdef Py_ssize_t i
    if size >= 8:
        return word_at(at + left - 8) >> (8 * (8 - left))
    for i in range(left):
        word |= <uint64_t>at[i] << (8 * i)
    return word


cdef inline bint is_multibyte_utf8(Octets at, Octets end) noexcept nogil:
    """Whether the octets are strict UTF-8, as in upb and Python: shortest forms, no surrogates, at most U+10FFFF."""
    cdef uint8_t lead, low, high
    cdef Py_ssize_t more
    while at < end:
        lead = at[0]
        at += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if end - at < more or at[0] < low or at[0] > high:
            return False
        at += 1
        more -= 1
        while more:
            if at[0] & 0xC0 != 0x80:
                return False
            at += 1
            more -= 1
    return True


cdef inline bint is_utf8(Octets at, Octets end) noexcept nogil:
    while end - at >= 8:
        if word_at(at) & HIGH_BITS:
            return is_multibyte_utf8(at, end)
        at += 8
    while at < end:
        if at[0] & 0x80:
            return is_multibyte_utf8(at, end)
        at += 1
    return True


cdef inline bint is_same(Octets one, Octets other, Py_ssize_t size) noexcept nogil:
    """Whether two octet strings are equal; faster for short ones than a call of ``memcmp``."""
    cdef Py_ssize_t at = 0
    if size < 8:
        return memcmp(one, other, size) == 0
    while at <= size - 8:
        if word_at(one + at) != word_at(other + at):
            return False
        at += 8
    return word_at(one + size - 8) == word_at(other + size - 8)


cdef inline bint starts_with(Octets at, Py_ssize_t size, Octets prefix, Py_ssize_t prefix_size) noexcept nogil:
    return size >= prefix_size and memcmp(at, prefix, prefix_size) == 0


cdef inline uint64_t rotated(uint64_t x, int bits) noexcept nogil:
    return (x << bits) | (x >> (64 - bits))


cdef inline uint64_t scrambled(uint64_t x) noexcept nogil:
    x = (x ^ (x >> 30)) * F1
    x = (x ^ (x >> 27)) * F2
    return x ^ (x >> 31)


cdef inline void hash_id(Octets at, Py_ssize_t size, uint64_t* out) noexcept nogil:
    """Writes the hash of :mod:`.ids` for an id of at most 256 octets into two words."""
    cdef uint64_t a = SEED_A ^ (<uint64_t>size * P)
    cdef uint64_t b = SEED_B + <uint64_t>size * Q
    cdef uint64_t k
    cdef Py_ssize_t left = size
    while left > 0:
        k = (word_at(at) if left >= 8 else last_word(at, left, size)) * P
        k ^= k >> 32
        k *= Q
        a = (rotated(a ^ k, 27) + b) * 5 + STEP_A
        b = (rotated(b + k, 31) ^ a) * 9 + STEP_B
        at += 8
        left -= 8
    a += b
    b += a
    a = scrambled(a)
    b = scrambled(b)
    a += b
    b += a
    out[0] = a
    out[1] = b


cdef inline uint32_t hash_text(Octets at, Py_ssize_t size) noexcept nogil:
    """Spreads texts over slots; a sender can make them collide, which :func:`code_of` bounds."""
    cdef uint64_t h = <uint64_t>size * P
    cdef Py_ssize_t left = size
    while left > 0:
        h = (h ^ (word_at(at) if left >= 8 else last_word(at, left, size))) * P
        h ^= h >> 29
        at += 8
        left -= 8
    return <uint32_t>((h * Q) >> 32)


cdef inline bint grow_texts(Texts* texts) noexcept nogil:
    """Makes room for twice as many texts."""
    cdef int32_t room = texts.room * 2 if texts.room else 8
    cdef uint32_t mask = <uint32_t>room * 2 - 1, slot
    cdef Text* entries
    cdef int32_t* slots
    cdef int32_t code
    if texts.room >= (1 << 28):
        return False
    entries = <Text*>realloc(texts.entries, <size_t>room * sizeof(Text))
    if entries == NULL:
        return False
    texts.entries = entries
    slots = <int32_t*>malloc((<size_t>mask + 1) * sizeof(int32_t))
    if slots == NULL:
        return False
    memset(slots, 0xFF, (<size_t>mask + 1) * sizeof(int32_t))
    for code in range(texts.count):
        slot = entries[code].hash & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = code
    free(texts.slots)
    texts.slots = slots
    texts.mask = mask
    texts.room = room
    return True


cdef inline int32_t code_of(Texts* texts, Octets at, Py_ssize_t size) noexcept nogil:
    """The code of a text, added at the end if it is new; −1 without memory, or if too many slots are crowded."""
    cdef uint32_t hashed = hash_text(at, size), slot
    cdef int32_t code, probe = 0
    cdef Text* entry
    if texts.count == texts.room and not grow_texts(texts):
        return -1
    slot = hashed & texts.mask
    while True:
        code = texts.slots[slot]
        if code < 0:
            break
        entry = &texts.entries[code]
        if entry.hash == hashed and entry.size == size and is_same(entry.at, at, size):
            return code
        probe += 1
        if probe > LONGEST_PROBE:
            return -1
        slot = (slot + 1) & texts.mask
    code = texts.count
    texts.slots[slot] = code
    texts.entries[code].at = at
    texts.entries[code].size = <int32_t>size
    texts.entries[code].hash = hashed
    texts.count = code + 1
    return code


cdef inline void free_texts(Texts* texts) noexcept nogil:
    free(texts.entries)
    free(texts.slots)
