package route

// Table is a set of routes of which no two match one request. It does not change after it is made.
type Table struct{}

// Builtin gives the table of SEMANTICS §20.
func Builtin() *Table { panic("not made yet") }

// Extend gives the built-in table with the routes of an operator's YAML document added. It cannot change or take away what is built in. Errors
// say which route is wrong and why.
func Extend(document []byte) (*Table, error) { panic("not made yet") }

// Match finds what r asks. The error is an [*authz.Error]: of KindInvalid for a path that could mean two things to two programs, of
// KindNotFound where there is no such route.
func (t *Table) Match(r *Request) (Match, error) { panic("not made yet") }
