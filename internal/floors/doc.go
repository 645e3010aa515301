// Package floors holds no code, only the tests that keep the shape of the
// repository: which package may import which, what the pure packages must do
// without, that packages and exported names are documented, that every numbered
// rule is cited by a test, the sizes of files and functions, and what go.mod
// may hold.
//
// The tests parse the source inside the test process. They do not run go list
// or go build: the test cache sees files that a test reads and not those that a
// child process reads, so such a test stays green, "(cached)", after the code breaks.
//
// Every check is a function from a tree to complaints, so that each is also
// run on a few small planted sources, which show that it can fail. What gen/
// holds is generated and exempt from all of them; so is every folder that go
// itself leaves out (testdata, and names that begin with a dot or underscore).
package floors
