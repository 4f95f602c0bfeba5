# The names that have a meaning, and the keys of a request, each with its meaning.

cdef struct Meaning:
    Octets at
    Py_ssize_t size
    uint8_t meaning
    uint8_t part
    bint sign

# Names and prefixes that have a meaning; written once, at import. The octets belong to ``_SPELLED``.
cdef Meaning EXACT[32]
cdef int EXACT_COUNT = 0
cdef Meaning PREFIXES[16]
cdef int PREFIX_COUNT = 0
cdef Text CHAMPION
cdef Text PREDICT
cdef Text LABEL_SPAN
cdef Text EVENT_LABEL
cdef Text TASKS[8]
cdef int TASK_COUNT = 0
cdef Text ROLES[8]
cdef int ROLE_COUNT = 0
cdef Text THRESHOLD
cdef Text DEFAULT_ERROR
cdef Text FEATURE_PREFIX
cdef Text SCORES_PREFIX
cdef Text TRUE
cdef Text FALSE
_SPELLED = []


cdef Text spelled(str text) except *:
    cdef Text spelling
    cdef bytes octets = text.encode()
    _SPELLED.append(octets)
    spelling.at = <Octets><const char*>octets
    spelling.size = <int32_t>len(octets)
    spelling.hash = 0
    return spelling


cdef Meaning meaning_of(str text, int meaning, int part, bint sign) except *:
    cdef Text octets = spelled(text)
    cdef Meaning meant
    meant.at = octets.at
    meant.size = octets.size
    meant.meaning = meaning
    meant.part = part
    meant.sign = sign
    return meant


cdef _learn_names():
    global EXACT_COUNT, PREFIX_COUNT, TASK_COUNT, ROLE_COUNT
    global FEATURE_PREFIX, SCORES_PREFIX, CHAMPION, PREDICT, LABEL_SPAN, EVENT_LABEL, THRESHOLD, DEFAULT_ERROR, TRUE, FALSE
    exact = (
        (semconv.PREDICTION_ID, ID, 0, False), (semconv.PREDICTION_CLASS, CELL, CLASS, True),
        (semconv.PREDICTION_SCORE, CELL, SCORE, True), (semconv.PREDICTION_VALUE, CELL, VALUE, True),
        (semconv.PREDICTION_ROWS, ROWS, 0, True), (semconv.PREDICTION_SCORES, ENTRIES, SCORES, True),
        (semconv.FEATURES, ENTRIES, FEATURE, True), (semconv.BATCH, STREAM, 0, True),
        (semconv.ERROR_TYPE, ERROR, 0, False), ("event.name", EVENT, 0, False),
        (semconv.MODEL_NAME, NAME, 0, False), (semconv.MODEL_VERSION, VERSION, 0, False),
        (semconv.MODEL_TASK, TASK, 0, False), (semconv.MODEL_ROLE, ROLE, 0, False),
        (semconv.MODEL_POSITIVE_CLASS, POSITIVE, 0, False), (semconv.FEATURES_WITHHELD, WITHHELD, 0, False),
        (semconv.MODEL_THRESHOLD, CUT, 0, False), (semconv.ATTRIBUTIONS_WEIGHT, CELL, ATTRIBUTION, False),
        (semconv.TRACE_SAMPLED, SAMPLED, 0, False),
        (semconv.LABEL_CLASS, LABEL, LABEL_CLASS, False), (semconv.LABEL_VALUE, LABEL, LABEL_VALUE, False),
    )
    prefixes = (  # the first match counts; those of cells match only longer names
        (semconv.FEATURE, CELL, FEATURE, True), (semconv.SEGMENT, CELL, SEGMENT, False),
        (semconv.ATTRIBUTION, CELL, ATTRIBUTION, False), (semconv.PREDICTION_SCORES + ".", CELL, SCORES, True),
        (semconv.FEATURE, SIGN, 0, True), (semconv.PREDICTION_ID.rpartition(".")[0] + ".", SIGN, 0, True),
        (semconv.MODEL_NAME.partition(".")[0] + ".", NAMESPACE, 0, False),
    )
    for name, meaning, part, sign in exact:
        EXACT[EXACT_COUNT] = meaning_of(name, meaning, part, sign)
        EXACT_COUNT += 1
    for name, meaning, part, sign in prefixes:
        PREFIXES[PREFIX_COUNT] = meaning_of(name, meaning, part, sign)
        PREFIX_COUNT += 1
    FEATURE_PREFIX = spelled(semconv.FEATURE)
    SCORES_PREFIX = spelled(semconv.PREDICTION_SCORES + ".")
    CHAMPION = spelled(semconv.ROLES[0])
    PREDICT = spelled(semconv.SPAN_PREDICT)
    LABEL_SPAN = spelled(semconv.SPAN_LABEL)
    EVENT_LABEL = spelled(semconv.EVENT_LABEL)
    for name in semconv.TASKS:
        TASKS[TASK_COUNT] = spelled(name)
        TASK_COUNT += 1
    for name in semconv.ROLES:
        ROLES[ROLE_COUNT] = spelled(name)
        ROLE_COUNT += 1
    THRESHOLD = spelled("ot=")
    DEFAULT_ERROR = spelled("error")
    TRUE = spelled("true")
    FALSE = spelled("false")


_learn_names()
_TYPES = _learn_kinds(ExportTraceServiceRequest.DESCRIPTOR, ExportLogsServiceRequest.DESCRIPTOR)
cdef int TRACES_TYPE = _TYPES["opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"]
cdef int LOGS_TYPE = _TYPES["opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"]
cdef int RESOURCE_LOGS_TYPE = _TYPES["opentelemetry.proto.logs.v1.ResourceLogs"]
cdef int SCOPE_LOGS_TYPE = _TYPES["opentelemetry.proto.logs.v1.ScopeLogs"]
cdef int RECORD_TYPE = _TYPES["opentelemetry.proto.logs.v1.LogRecord"]
cdef int RESOURCE_SPANS_TYPE = _TYPES["opentelemetry.proto.trace.v1.ResourceSpans"]
cdef int SCOPE_SPANS_TYPE = _TYPES["opentelemetry.proto.trace.v1.ScopeSpans"]
cdef int SPAN_TYPE = _TYPES["opentelemetry.proto.trace.v1.Span"]
cdef int STATUS_TYPE = _TYPES["opentelemetry.proto.trace.v1.Status"]
cdef int RESOURCE_TYPE = _TYPES["opentelemetry.proto.resource.v1.Resource"]
cdef int KEY_VALUE_TYPE = _TYPES["opentelemetry.proto.common.v1.KeyValue"]
cdef int ANY_VALUE_TYPE = _TYPES["opentelemetry.proto.common.v1.AnyValue"]
cdef int ARRAY_TYPE = _TYPES["opentelemetry.proto.common.v1.ArrayValue"]
cdef int MAP_TYPE = _TYPES["opentelemetry.proto.common.v1.KeyValueList"]


cdef void learn_meaning(Key* key, Octets at, Py_ssize_t size) noexcept nogil:
    cdef int i
    cdef Meaning* known
    key.meaning, key.part, key.sign = IGNORED, 0, False
    for i in range(EXACT_COUNT):
        known = &EXACT[i]
        if known.size == size and memcmp(known.at, at, size) == 0:
            key.meaning, key.part, key.sign = known.meaning, known.part, known.sign
            return
    for i in range(PREFIX_COUNT):
        known = &PREFIXES[i]
        if starts_with(at, size, known.at, known.size) and (size > known.size or known.meaning != CELL):
            key.meaning, key.part, key.sign = known.meaning, known.part, known.sign
            return


cdef int32_t numbered(State* state, Octets at, Py_ssize_t size, bint lasting) noexcept nogil:
    """The number of a key by its whole name, known or new; −1 if it cannot have one."""
    cdef int32_t known = state.names.count, key = code_of(&state.names, at, size)
    cdef Py_ssize_t room
    cdef Key* keys
    if key != known:
        return key
    if not lasting:
        at = own(&state.owned, at, size)
        if at == NULL:
            return -1
        state.names.entries[key].at = at
    if key >= state.key_room:
        room = wider(state.key_room, 64)
        keys = <Key*>realloc(state.keys, <size_t>room * sizeof(Key))
        if keys == NULL:
            return -1
        state.keys = keys
        state.key_room = room
    memset(&state.keys[key], 0, sizeof(Key))
    learn_meaning(&state.keys[key], at, size)
    state.keys[key].head_sizes[FLAT] = NO_HEAD
    state.keys[key].head_sizes[ENTRY] = NO_HEAD
    state.keys[key].seen = -1
    return key


cdef int32_t key_of(State* state, int form, Text* prefix, Octets head, Octets at, Octets stop) noexcept nogil:
    """The number of the current key; for an entry of a map, that of the flat name with the map's ``prefix``."""
    cdef int32_t key
    cdef Py_ssize_t size = stop - at
    if form == FLAT:
        key = numbered(state, at, size, True)
    else:
        if not has_scratch(state, prefix.size + size):
            return -1
        memcpy(state.scratch, prefix.at, prefix.size)
        memcpy(state.scratch + prefix.size, at, size)
        key = numbered(state, state.scratch, prefix.size + size, False)
    if key >= 0 and size <= LONGEST_HEAD:
        state.keys[key].heads[form] = head
        state.keys[key].head_sizes[form] = <int32_t>(stop - head)
    return key


cdef bint has_scratch(State* state, Py_ssize_t size) noexcept nogil:
    """Makes the scratch memory at least ``size`` octets large."""
    cdef uint8_t* scratch
    if size > 0x7FFFFFFF:
        return False
    if size > state.scratch_room:
        scratch = <uint8_t*>realloc(state.scratch, <size_t>size)
        if scratch == NULL:
            return False
        state.scratch = scratch
        state.scratch_room = size
    return True
