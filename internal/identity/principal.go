package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Principal is an authenticated caller. The zero Principal is nobody.
type Principal struct {
	// Name is unique among callers and goes to logs and the audit: a SPIFFE id, "key:" and the name of a key, or "local:development".
	Name string
	// Roles is empty for a caller that is known and may do nothing.
	Roles RoleSet
	// User is the one user that the caller's key acts for, by the forge's number; zero for a caller that acts for itself, or for users whom it names.
	User int64
}

// Authenticator tells who makes a call. Implementations are [Callers] and [Development]; both are safe for concurrent use.
type Authenticator interface {
	// Authenticate judges what a call came with: the state of its TLS connection, nil if there is none, and all values of its
	// "authorization" header. The error is [ErrNoCredentials] or wraps [ErrBadCredentials]; it may be shown to the caller.
	Authenticate(state *tls.ConnectionState, authorization []string) (Principal, error)
}

// Authentication errors; both mean "unauthenticated" at the door.
var (
	// ErrNoCredentials says that the call came with neither a client certificate nor a key.
	ErrNoCredentials = errors.New("no credentials: call with a client certificate or with the header \"authorization: Bearer KEY\"")
	// ErrBadCredentials says that it came with some that are not good. They are never skipped in favour of other, good ones.
	ErrBadCredentials = errors.New("bad credentials")
)

// Development takes everybody for local:development with every role. The zero Development takes nobody.
type Development struct{ checked bool }

// NewDevelopment returns the authenticator of development mode for a server that listens on addrs and nowhere else. It refuses
// any address that other machines could reach.
func NewDevelopment(addrs ...net.Addr) (Development, error) {
	for _, a := range addrs {
		switch a := a.(type) {
		case *net.UnixAddr:
			continue
		case *net.TCPAddr:
			if a.IP.IsLoopback() {
				continue
			}
		}
		return Development{}, fmt.Errorf("development mode lets everybody do everything, so it works on loopback addresses and Unix sockets only, "+
			"not on %v: listen on 127.0.0.1, or configure TLS and callers", a)
	}
	return Development{checked: true}, nil
}

// Authenticate implements [Authenticator]; it looks at nothing.
func (d Development) Authenticate(*tls.ConnectionState, []string) (Principal, error) {
	if !d.checked {
		return Principal{}, ErrNoCredentials
	}
	return Principal{Name: "local:development", Roles: AllRoles()}, nil
}
