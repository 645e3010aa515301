// Package gitlab is a REST API of the PDP.
package gitlab
