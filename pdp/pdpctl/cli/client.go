package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
)

// dial gives the connection of the session, made at the first call.
func (s *session) dial() (*grpc.ClientConn, error) {
	if s.conn != nil {
		return s.conn, nil
	}
	g := s.globals
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20))}
	secure := g.CA != "" || g.Cert != "" || g.KeyFile != ""
	if secure {
		name := g.ServerName
		if name == "" {
			host, _, err := net.SplitHostPort(g.Address)
			if err != nil {
				return nil, fmt.Errorf("--server-name is needed with TLS and --address %s", g.Address)
			}
			name = host
		}
		files, err := identity.LoadClientTLS(identity.ClientFiles{CA: g.CA, Cert: g.Cert, Key: g.Key, ServerName: name})
		if err != nil {
			return nil, err
		}
		opts[0] = grpc.WithTransportCredentials(credentials.NewTLS(files.Config("h2")))
	}
	if g.KeyFile != "" {
		key, err := os.ReadFile(g.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the bearer key cannot be read: %w", err)
		}
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(bytes.TrimSpace(key))))
	}
	conn, err := grpc.NewClient(g.Address, opts...)
	if err != nil {
		return nil, fmt.Errorf("--address %s: %w", g.Address, err)
	}
	s.conn = conn
	return conn, nil
}

func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// bearer sends a key with every call; gRPC refuses it on a connection without TLS.
type bearer []byte

// GetRequestMetadata is called by gRPC.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is called by gRPC.
func (bearer) RequireTransportSecurity() bool { return true }

// call makes one unary call under the deadline of the session.
func call[Req, Resp any](s *session, rpc func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req) (Resp, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.globals.Timeout)
	defer cancel()
	resp, err := rpc(ctx, req)
	return resp, s.noPDP(err)
}

// noPDP says what to do when nobody answers.
func (s *session) noPDP(err error) error {
	if err != nil && strings.Contains(err.Error(), "connect: ") {
		return fmt.Errorf("no PDP answers at %s: start one with \"pdp\" (go run ./pdp), or say where it is with --address", s.globals.Address)
	}
	return err
}

// The services.

func (s *session) decisions() (jobwardv1.DecisionServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewDecisionServiceClient(conn), err
}

func (s *session) tokens() (jobwardv1.TokenServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewTokenServiceClient(conn), err
}

func (s *session) allowlists() (jobwardv1.AllowlistServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewAllowlistServiceClient(conn), err
}

func (s *session) directory() (jobwardv1.DirectoryServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewDirectoryServiceClient(conn), err
}

func (s *session) audits() (jobwardv1.AuditServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewAuditServiceClient(conn), err
}

func (s *session) peers() (jobwardv1.PeerServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewPeerServiceClient(conn), err
}

func (s *session) watches() (jobwardv1.WatchServiceClient, error) {
	conn, err := s.dial()
	return jobwardv1.NewWatchServiceClient(conn), err
}

// number reads an id, or gives zero for what is not one.
func number(text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0
	}
	return id
}

// projectID finds a project by id or full path; nothing gives zero.
func (s *session) projectID(text string) (int64, error) {
	if id := number(text); id != 0 || text == "" {
		return id, nil
	}
	dir, err := s.directory()
	if err != nil {
		return 0, err
	}
	resp, err := call(s, dir.GetProject, &jobwardv1.GetProjectRequest{FullPath: text})
	if err != nil {
		return 0, fmt.Errorf("project %s: %w", text, s.words(err))
	}
	return resp.GetProject().GetProjectId(), nil
}

// groupID finds a group by id or full path; nothing gives zero.
func (s *session) groupID(text string) (int64, error) {
	if id := number(text); id != 0 || text == "" {
		return id, nil
	}
	dir, err := s.directory()
	if err != nil {
		return 0, err
	}
	resp, err := call(s, dir.GetGroup, &jobwardv1.GetGroupRequest{FullPath: text})
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", text, s.words(err))
	}
	return resp.GetGroup().GetGroupId(), nil
}

// userID finds a user by id or name; nothing gives zero.
func (s *session) userID(text string) (int64, error) {
	if id := number(text); id != 0 || text == "" {
		return id, nil
	}
	dir, err := s.directory()
	if err != nil {
		return 0, err
	}
	req := &jobwardv1.ListUsersRequest{Name: text, PageSize: 2}
	for {
		resp, err := call(s, dir.ListUsers, req)
		if err != nil {
			return 0, fmt.Errorf("user %s: %w", text, s.words(err))
		}
		switch users := resp.GetUsers(); {
		case len(users) > 1:
			return 0, fmt.Errorf("several users are named %s: give the id", text)
		case len(users) == 1:
			return users[0].GetUserId(), nil
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return 0, fmt.Errorf("no user is named %s", text)
		}
	}
}

// actingUser is the user of --as, zero for none.
func (s *session) actingUser() (int64, error) { return s.userID(s.globals.As) }
