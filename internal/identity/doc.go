// Package identity says who a caller is: it turns a verified client certificate or a bearer key into a [Principal] with roles. What a role may
// call is decided elsewhere, by the server's table of doors.
//
// Three ways to be somebody:
//
//   - A client certificate with exactly one URI SAN, a SPIFFE id such as spiffe://forge.example/runner/7. The rows under "certificates" of the
//     callers file give roles to ids. An id that no row names is authenticated and has no role.
//   - A static bearer key, sent as "authorization: Bearer jobk-…". The callers file holds the hash of the key, never the key ([NewKey]).
//   - Development mode, in which everybody is local:development with every role. It exists only on loopback and Unix sockets ([NewDevelopment]).
//
// # Callers file
//
//	certificates:
//	  - uri: spiffe://forge.example/runner/*   # exact, or everything below with a trailing /*
//	    roles: [runner]
//	  - uri: spiffe://forge.example/pdp/*      # of several PDPs on one store each calls the others
//	    roles: [peer]
//	keys:
//	  - name: forge-sync
//	    sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
//	    roles: [directory, maintainer]
//	  - name: terraform
//	    sha256: 1f0c4a8b3ba1cc1d9ae0b0ef1c6dd7ae8e0a5ac5a1a4d2cf2b4b3f2d1e0c9b8a
//	    roles: [maintainer]
//	    user: 103                              # acts for this user and nobody else, by the REST API alone
//
// A key with a user can do what that user can do. Package server lets it in nowhere: a maintainer's key there names any user, and this one must not.
//
// Rows only add: an id that several rows name has the roles of all of them. There is no order and no exception.
//
// # Files that change
//
// The callers file and the TLS files are read at start, where any doubt is an error that names the file and what is wrong with it, and again when
// they change. A change that cannot be read is reported and the last good one stays in force. They are found by looking once in a while, not by
// kernel notification, because that works alike for editors, for renames and for the symbolic links of Kubernetes. A row, key or CA that was taken away is
// gone for the next call or connection after that look; a connection that stands already keeps its certificate, so a server
// should end connections after a while.
//
// Errors of this package never contain a key.
package identity
