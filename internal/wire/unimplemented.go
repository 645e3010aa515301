package wire

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Unimplemented makes the status of a method that a server does not have. It is no
// error of the words: no verb gives it, and to a client it is KindInternal.
func Unimplemented(reason, message string) error {
	st, err := status.New(codes.Unimplemented, clean(message, maxMessage)).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: Domain})
	if err != nil { // only for OK
		return status.Error(codes.Unimplemented, message)
	}
	return st.Err()
}
