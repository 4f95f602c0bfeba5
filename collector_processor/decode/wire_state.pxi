# What the walk holds while it goes over one request.

cdef enum:
    # What an attribute's key means. Up to SIGN only its presence counts; the others may come once in a plain span.
    IGNORED = 0
    NAMESPACE = 1
    SIGN = 2
    CELL = 3
    ID = 4
    ROWS = 5
    ERROR = 6
    NAME = 7
    VERSION = 8
    TASK = 9
    ROLE = 10
    LABEL = 11
    BEYOND = 12

cdef enum:
    # What a value holds; NESTED is whatever is no scalar.
    NOTHING = 0
    DOUBLE = 1
    INTEGER = 2
    BOOLEAN = 3
    TEXT = 4
    NESTED = 5

cdef enum:
    STATUS_ERROR = 2
    LONGEST_HEAD = 127
    LONGEST_DEFAULT_ID = 64
    LONGEST_ID = 256


cdef struct Key:
    # ``head`` is tag, length and octets of the key; ``after`` the key that last came behind it.
    Octets head
    int32_t head_size
    int32_t after
    int64_t seen
    uint8_t meaning
    uint8_t part
    bint sign


cdef struct Value:
    int kind
    double number
    int64_t integer
    Octets at
    Py_ssize_t size


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
    Text name
    Text trace_id
    Text span_id
    Text trace_state
    uint64_t start
    uint64_t end
    int32_t status
    int32_t previous
    Py_ssize_t cell_count
    Value names[IDENTITY]
    Value id
    Value error
    int64_t count
    bint odd
    bint sign
    bint namespace
    bint label


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
    for index in range(state.owned.count):
        free(state.owned.parts[index])
    free(state.owned.parts)
    free_texts(&state.names)
    free_texts(&state.states)
    free_texts(&state.model_names)
    free(state.resources)
    free(state.others)
    free(state.keys)
    free(state.cells)
    free(state.models)
    free(state.scratch)
