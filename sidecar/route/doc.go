// Package route says what a request to a protected service asks: which permission, on which project, and where on the request a job token
// may stand. It is a table (routes.yaml, SEMANTICS §§10, 12 and 20) and a matcher, both pure.
//
// What is in no table is refused. No two routes of a table match one request, so their order means nothing, and a table says which route it
// is without knowing more than method, path and query.
//
// # The routes file
//
// An operator adds routes of other services in a YAML file, the setting routes-file of the sidecar. It has the form of the built-in
// table, which it can add to and not change:
//
//	routes:
//	  # Pages that ask nothing.
//	  - methods: [GET]
//	    patterns: [/healthz, "/assets/*file<not *.git|refs>"]
//	    open: true
//
//	  # A forge that names a project by two segments.
//	  - methods: [GET]
//	    patterns: ["/api/v1/repos/:owner/:repo/raw/*file", "/api/v1/repos/:owner/:repo/archive/:ref.zip"]
//	    permission: read_repository
//	    project: ":owner/:repo"
//	    carriers: [header, bearer]
//
//	  # A server that belongs to one project.
//	  - methods: [PUT, DELETE]
//	    patterns: ["/cache/:key"]
//	    permission: create_package
//	    project: "=acme/platform/cache"
//	    carriers: [header, basic]
//
// The fields of a route:
//
//	methods     in capitals; HEAD goes where GET goes and is not named
//	patterns    see below; every method goes with every pattern
//	permission  what the job must be allowed to do; a name of the PDP's catalogue
//	project     which project is asked for:
//	              ":id"           the number or the full path, its slashes sent as %2F, is this segment
//	              "*path"         the full path is these segments, two or more
//	              ":owner/:repo"  the full path is these segments, which follow each other; the last may be a *
//	              "+user"         the full path is this segment, with + for its slashes
//	              "=42", "=a/b"   always this one
//	              owner           the service knows: the sidecar asks it
//	job         instead of project: own when the job asks about itself, ":id" when the segment must be its id
//	carriers    where a token may stand: header (JOB-TOKEN), param (parameter job_token or token), token-param (parameter token and no
//	            other), basic (password of gitlab-ci-token), bearer. A token that stands elsewhere is not seen.
//	surface     the kind of door: rest (the default), git, registry, policy; unlisted and graphql are routes that take no job token, and have
//	            no carriers
//	style       how refusals look: rest (the default), git, runner, own, trigger
//	query       name=value: the query has exactly one parameter of this name, with this value
//	open        true: served to everybody, asks nothing, and has only methods and patterns besides
//
// A pattern is segments with slashes before them:
//
//	/api        a literal: exactly these characters, none of them percent-encoded
//	:name       one segment
//	*name       one or more segments
//	:name.zip   a segment with this ending; with *, the last of the segments has it
//	(/more)     with and without; none inside another
//
// A segment is never empty; a pattern that ends with a slash wants the slash. In < and > behind a parameter's name stand, with commas between:
//
//	number      digits only
//	encoded     the segment may have slashes, sent as %2F
//	not a|*.b   none of the segments is a or ends with .b
//
// The project's or job's own parameters need no number and no encoded. One segment of digits is a number, without leading zeros, 1 to
// [authz.MaxID]; everything else is a path of at most 1024 bytes and 64 names, each of letters, digits and - . _ ~, not -, not a dot segment,
// and not ending in .git.
//
// A route that shares a request with another, its own or built in, is refused at the start, with a path that both match. The built-in Git routes
// begin with any name, so patterns such as /files/*path meet them: write /files/*path<not *.git|refs> for GET, and
// <not *.git|git-upload-pack|git-receive-pack> for POST.
//
// Bounds: a document of 1 MiB; 2000 routes with the built-in ones, each method and each reading of a pattern counted; patterns of 512 bytes, 32
// segments, two parameters with * and three optional pieces; names and literals behind not of 64 bytes, 16 of them. Unknown fields, anchors,
// aliases and tags are refused.
//
// # Paths
//
// A path is decoded once, segment by segment, and refused with BAD_PATH where two programs could read it differently: an empty segment inside
// it, a dot segment, sent as it is or encoded; what is percent-encoded twice, or badly; control characters, NUL among them, backslashes and
// semicolons, encoded or not; a bare space, # or ?; what is not UTF-8; more than 4096 bytes or 128 segments; a slash as %2F where the
// route has none; and a literal, or a name of a Git path, with anything percent-encoded, since what is behind would decode it. Case counts.
// A parameter may have characters encoded that need not be, as clients send the dot of a version.
//
// The query is looked at only where a route has a condition on it, and refused with BAD_QUERY if it has the parameter twice, semicolons,
// broken escapes, or control characters in a name.
package route
