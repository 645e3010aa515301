// Package route says what a request to a protected service asks: which permission, on which project, and where on the request a job token
// may stand. It is a table (routes.yaml, SEMANTICS §§10–12 and 20) and a matcher, both pure.
package route
