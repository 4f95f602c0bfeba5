# Protobuf's wire format. Anything malformed, or merely unusual (groups, fields of another wire type, lengths beyond
# 2 GiB, deep nesting), is not judged here: the functions return False, and the fallback decides on the whole request.

cdef enum:
    UNKNOWN = 0
    VARINT = 1
    FIXED64 = 2
    FIXED32 = 3
    OCTETS = 4
    STRING = 5
    UNUSUAL = 6
    MESSAGE = 16
    MOST_TYPES = 32
    MOST_FIELDS = 32
    DEEPEST = 60
    LONGEST_SIZE = 5  # octets of a tag or a length

# The kind of each field of each message, from the generated classes' descriptors; written once, at import.
cdef uint8_t KINDS[MOST_TYPES * MOST_FIELDS]


cdef inline bint take_varint(Octets* at, Octets end, uint64_t* value) noexcept nogil:
    cdef uint64_t number = 0
    cdef int shift = 0
    cdef uint8_t octet
    cdef Octets here = at[0]
    while here < end and shift < 70:
        octet = here[0]
        here += 1
        if shift == 63 and octet > 1:
            return False
        number |= <uint64_t>(octet & 0x7F) << shift
        if octet < 0x80:
            value[0] = number
            at[0] = here
            return True
        shift += 7
    return False


cdef inline bint take_tag(Octets* at, Octets end, uint32_t* tag) noexcept nogil:
    cdef uint64_t value
    cdef Octets begin = at[0]
    if at[0] < end and at[0][0] < 0x80:
        tag[0] = at[0][0]
        at[0] += 1
        return tag[0] >= 8
    if not take_varint(at, end, &value) or at[0] - begin > LONGEST_SIZE or value > 0xFFFFFFFFULL or value < 8:
        return False
    tag[0] = <uint32_t>value
    return True


cdef inline bint take_length(Octets* at, Octets end, Octets* stop) noexcept nogil:
    """Reads a length and sets ``stop`` to the end of what has this length, at most ``end``."""
    cdef uint64_t size
    cdef Octets begin = at[0]
    if at[0] < end and at[0][0] < 0x80:
        size = at[0][0]
        at[0] += 1
    elif not take_varint(at, end, &size) or at[0] - begin > LONGEST_SIZE:
        return False
    if size > <uint64_t>(end - at[0]) or size > 0x7FFFFFFFULL:
        return False
    stop[0] = at[0] + size
    return True


cdef bint pass_over(int type, uint32_t tag, Octets* at, Octets end, int depth) noexcept nogil:
    """Checks the field after a tag, with everything nested in it, and moves past it."""
    cdef uint32_t wire = tag & 7, field = tag >> 3
    cdef int kind = KINDS[type * MOST_FIELDS + field] if field < MOST_FIELDS else UNKNOWN
    cdef uint64_t ignored
    cdef Octets stop
    if wire == 0:
        return (kind == VARINT or kind == UNKNOWN) and take_varint(at, end, &ignored)
    if wire == 1 or wire == 5:
        if kind != UNKNOWN and kind != (FIXED64 if wire == 1 else FIXED32):
            return False
        if end - at[0] < (8 if wire == 1 else 4):
            return False
        at[0] += 8 if wire == 1 else 4
        return True
    if wire != 2 or not take_length(at, end, &stop):
        return False
    if kind == STRING:
        if not is_utf8(at[0], stop):
            return False
    elif kind >= MESSAGE:
        if not is_valid(kind - MESSAGE, at[0], stop, depth + 1):
            return False
    elif kind != OCTETS and kind != UNKNOWN:
        return False
    at[0] = stop
    return True


cdef bint is_valid(int type, Octets at, Octets end, int depth) noexcept nogil:
    """Whether the octets are a message of that type that protobuf accepts as well."""
    cdef uint32_t tag
    if depth > DEEPEST:
        return False
    while at < end:
        if not take_tag(&at, end, &tag) or not pass_over(type, tag, &at, end, depth):
            return False
    return True


def _learn_kinds(*roots):
    """Numbers the message types under ``roots`` and fills ``KINDS``; returns the numbers by full name."""
    numbers = {root.full_name: number for number, root in enumerate(roots)}
    waiting = list(roots)
    scalars = {
        1: FIXED64, 6: FIXED64, 16: FIXED64, 2: FIXED32, 7: FIXED32, 15: FIXED32, 9: STRING, 12: OCTETS,
        3: VARINT, 4: VARINT, 5: VARINT, 8: VARINT, 13: VARINT, 14: VARINT, 17: VARINT, 18: VARINT,
    }
    while waiting:
        message = waiting.pop()
        for field in message.fields:
            if not 0 < field.number < MOST_FIELDS:
                raise ImportError(f"{field.full_name} has number {field.number}: the compiled decoder knows up to 31")
            kind = scalars.get(field.type, UNUSUAL)
            if field.is_repeated and kind not in (STRING, OCTETS):
                kind = UNUSUAL  # may be packed
            if field.type == 11:
                child = field.message_type
                if child.full_name not in numbers:
                    if len(numbers) == MOST_TYPES:
                        raise ImportError("the compiled decoder knows up to 32 message types")
                    numbers[child.full_name] = len(numbers)
                    waiting.append(child)
                kind = MESSAGE + numbers[child.full_name]
            KINDS[numbers[message.full_name] * MOST_FIELDS + field.number] = kind
    return numbers
