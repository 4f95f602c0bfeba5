# The state of the walk over one request.

cdef enum:
    # The meaning of an attribute's key. Up to EVENT only its presence counts; the others may come once in a plain span.
    IGNORED = 0
    NAMESPACE = 1
    SIGN = 2
    EVENT = 3
    CELL = 4
    ID = 5
    ROWS = 6
    ERROR = 7
    NAME = 8
    VERSION = 9
    TASK = 10
    ROLE = 11
    POSITIVE = 12
    WITHHELD = 13
    CUT = 14
    LABEL = 15
    ENTRIES = 16
    STREAM = 17
    SAMPLED = 18

cdef enum:
    # The kind of a value; STRANGE is anything other than exactly one field that OTLP defines.
    NOTHING = 0
    DOUBLE = 1
    INTEGER = 2
    BOOLEAN = 3
    TEXT = 4
    BYTES = 5
    ARRAY = 6
    MAP = 7
    STRANGE = 8

cdef enum:
    # The place of a key: in an attribute, or in an entry of ``ml.features`` or ``ml.prediction.scores``.
    FLAT = 0
    ENTRY = 1
    FORMS = 2

cdef enum:
    STATUS_ERROR = 2
    LONGEST_HEAD = 127
    NO_HEAD = 0x7FFFFFFF
    LONGEST_DEFAULT_ID = 64
    LONGEST_ID = 256
    LONGEST_INTEGER = 20
    TRACE_OCTETS = 16
    SPAN_OCTETS = 8


cdef struct Key:
    # By form: ``heads`` are tag, length and octets of the key; ``after`` is the key that last followed it.
    Octets heads[FORMS]
    int32_t head_sizes[FORMS]
    int32_t after[FORMS]
    int64_t seen
    uint8_t meaning
    uint8_t part
    bint sign


cdef struct Value:
    # An array has ``integer`` elements in the octets at ``at``, of which ``nested`` are not scalars; its longest text
    # has ``longest`` octets.
    int kind
    int32_t nested
    double number
    int64_t integer
    Octets at
    int32_t size
    int32_t longest


cdef struct Cell:
    int32_t key
    int32_t part
    Value value


cdef struct Resource:
    Text name
    Text version


cdef struct OtherSpan:
    int64_t ordinal
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t resource
    bint label


cdef struct Span:
    # One span or record as far as it has been read. ``rows`` is the length of its arrays, −1 without any.
    Text name
    Text trace_id
    Text span_id
    Text trace_state
    uint64_t start
    uint64_t end
    uint32_t flags
    int32_t status
    int32_t previous
    Py_ssize_t cell_count
    Value names[IDENTITY]
    Value id
    Value error
    Value stream
    Value labels[2]
    int32_t id_key
    int32_t label_keys[2]
    int64_t count
    int64_t rows
    Py_ssize_t unsupported
    bint odd
    bint unsampled
    bint sign
    bint namespace
    bint label
    bint event


cdef struct Streamed:
    # A span or record with an Arrow stream, and its cells: ``cell_count`` held ones from ``first_cell`` on.
    Text names[IDENTITY]
    uint8_t digits[24]
    bint own_version
    double cut
    Text name
    Text trace_id
    Text span_id
    uint32_t flags
    bint unsampled
    Text error
    bint failed
    Row row
    Py_ssize_t resource
    Py_ssize_t begin
    Py_ssize_t end
    Py_ssize_t first_cell
    Py_ssize_t cell_count


cdef struct State:
    Octets begin
    int64_t received_ns
    int64_t longest
    int64_t most_models
    int64_t most_rows
    int64_t items
    int64_t containers
    Resource* resources
    Py_ssize_t resource_count
    Py_ssize_t resource_room
    OtherSpan* others
    Py_ssize_t other_count
    Py_ssize_t other_room
    Streamed* streams
    Py_ssize_t stream_count
    Py_ssize_t stream_room
    Cell* held
    Py_ssize_t held_count
    Py_ssize_t held_room
    Texts label_names
    Labels* labels
    Py_ssize_t label_count
    Py_ssize_t label_room
    int64_t rows
    Py_ssize_t unsupported
    Py_ssize_t without_id
    Py_ssize_t without_value
    Py_ssize_t odd_keys
    Texts names
    Key* keys
    Py_ssize_t key_room
    Cell* cells
    Py_ssize_t cell_room
    Texts states
    Texts model_names
    Model* models
    Py_ssize_t model_count
    Py_ssize_t model_room
    Py_ssize_t last_model
    uint8_t* scratch
    Py_ssize_t scratch_room
    Owned owned
    Space space
    Span span


cdef void free_state(State* state) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(state.model_count):
        free_model(&state.models[index])
    for index in range(state.label_count):
        free_labels(&state.labels[index])
    for index in range(state.owned.count):
        free(state.owned.parts[index])
    free(state.owned.parts)
    free_texts(&state.names)
    free_texts(&state.states)
    free_texts(&state.model_names)
    free(state.resources)
    free_texts(&state.label_names)
    free(state.others)
    free(state.streams)
    free(state.held)
    free(state.labels)
    free(state.keys)
    free(state.cells)
    free(state.models)
    free(state.scratch)
