package settings

import (
	"slices"
	"strings"
)

// variables are the environment variables that each program knows, without JOBWARD_. The row of a program whose settings Parse reads is the whole
// of what [Program.Variables] gives for it; a test of that program says so. Pdpctl's are those that people set in the shell that they start
// others in, and .ci/run's is there while tests run.
func variables() map[string]string {
	return map[string]string{
		"pdp": `ADMIN_ADDR AUDIT_RETENTION AUDIT_SAMPLE BALLAST CALLERS_FILE CANARY_EVERY CANARY_PROJECT CANARY_USER CATALOGUE_FILE CONFIG DATA_DIR
			DEFAULT_TIMEOUT DEVELOPMENT EXTERNAL_URL GRPC_ADDR HISTORY LEASE_QUEUE LEASE_TERM LOG_FORMAT LOG_LEVEL MAX_CONNECTION_AGE MAX_INTEREST MAX_MESSAGE_SIZE
			MAX_SIDECARS MAX_STREAMS MAX_TIMEOUT MAX_UNKNOWN_TOKENS MEMTABLE_SIZE MIN_FREE_DISK
			OLDER_TOKEN_PREFIXES REFLECTION REST_ADDR RETENTION SAMPLE_WORLD SHUTDOWN_DELAY SHUTDOWN_GRACE SOCKET_MODE TLS_CERT_FILE TLS_CLIENT_CA_FILE
			TLS_KEY_FILE TLS_REQUIRE_CLIENT_CERT TOKEN_PREFIX`,
		"sidecar": `CANARY CONFIG DEVELOPMENT EXT_AUTHZ HEALTH_ADDR HTTP_ADDR LISTEN LISTEN_CALLERS_FILE LISTEN_CERT_FILE LISTEN_CLIENT_CA_FILE
			LISTEN_KEY_FILE LISTEN_MODE LOG_FORMAT LOG_LEVEL MAX_CACHE_SIZE MAX_CONNECTION_AGE MAX_ENTRIES MAX_MESSAGE_SIZE MAX_STREAMS
			MEMORY_LIMIT NAME OWNER_URL PDP_ADDR PDP_BEARER_KEY_FILE PDP_CA_FILE PDP_CERT_FILE PDP_KEY_FILE PDP_SERVER_NAME PDP_TIMEOUT
			PROXY_ADDR PROXY_CA_FILE PROXY_TO REFLECTION REFUSE_QUERY_TOKENS REGISTRY_ADDR REGISTRY_CA_FILE REGISTRY_CERT_FILE
			REGISTRY_ISSUER REGISTRY_KEY_FILE REGISTRY_SERVICE REGISTRY_TO REGISTRY_TOKEN_TTL
			REGISTRY_URL ROUTES_FILE SHUTDOWN_DELAY SHUTDOWN_GRACE STATE_DIR TELL_REASON TRUSTED_PROXIES TRUST_SOCKET_MODE WHEN_UNAVAILABLE WITHOUT_TOKEN`,
		"pdpctl":  "ADDRESS AS CA CERT KEY KEY_FILE OUTPUT SERVER_NAME TIMEOUT TOKEN",
		".ci/run": "CI",
	}
}

// KnownTo lists the variables of one program, without JOBWARD_ and in order.
func KnownTo(program string) []string { return strings.Fields(variables()[program]) }

// Others lists the variables that programs other than the one named know. It is what [Program].Elsewhere takes.
func Others(program string) []string {
	var list []string
	for name := range variables() {
		if name != program {
			list = append(list, KnownTo(name)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
