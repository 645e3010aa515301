// Package gitlab tests pdp/gitlab from outside: with GitLab's own Go client, unmodified, against a PDP over TLS, with the curl commands of its
// documentation, and with a sidecar that has cached what is taken away.
package gitlab
