package hot

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"fmt"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// Least is the history that questions must not be answered before.
type Least struct {
	// Revision has to be reached, in whatever epoch.
	Revision authz.Revision
	// Epoch has to be reached, and in that very epoch EpochRevision: in a later one
	// revisions of this one mean nothing. Zero asks for nothing.
	Epoch         uint64
	EpochRevision authz.Revision
}

// add adds what one question asks for. Of epochs the latest counts: when that one is
// reached, the revisions of those before mean nothing.
func (l *Least) add(a *Asked) {
	switch rev := authz.Revision(a.MinRevision); {
	case a.Epoch == 0:
		l.Revision = max(l.Revision, rev)
	case a.Epoch > l.Epoch:
		l.Epoch, l.EpochRevision = a.Epoch, rev
	case a.Epoch == l.Epoch:
		l.EpochRevision = max(l.EpochRevision, rev)
	}
}

// Requests turns the questions into requests, which it appends to buf, and gives what
// they are not to be answered before. All of a message are looked at before one can be
// judged; errors are KindInvalid and name the field. A token that comes several times in
// a row is hashed once. The requests keep nothing of in. Afterwards the questions of a
// batch have what was asked for all of them.
func (in *Inbox) Requests(tokens *token.Format, buf []authz.Request) (_ []authz.Request, least Least, err error) {
	if in.Shape != Check && (in.More || len(in.Questions) == 0) {
		return buf, least, in.refuse(tokens)
	}
	if in.Shape == BatchCheck {
		for i := range in.Questions {
			in.Questions[i].Asked = in.Batch
		}
	}
	if in.q == nil {
		in.q = &jobwardv1.Question{}
	}
	var digest authz.Digest
	var digestOf []byte
	for i := range in.Questions {
		q := &in.Questions[i]
		switch {
		case len(q.Digest) == len(digest):
			digest, digestOf = authz.Digest(q.Digest), nil
		case len(q.Token) > 0 && (digestOf == nil || !bytes.Equal(q.Token, digestOf)):
			digest = in.last.digestOf(tokens, q.Token)
			digestOf = q.Token
		}
		req, err := q.request(tokens, digest, in.q)
		if err != nil {
			if in.Shape == Check {
				return buf, least, err
			}
			return buf, least, cmp.Or(in.refuse(tokens), err)
		}
		buf = append(buf, req)
		least.add(&q.Asked)
	}
	return buf, least, nil
}

// digestOf gives the digest of a text, zero for what is no job token. It may be called without a stream.
func (l *Last) digestOf(tokens *token.Format, text []byte) (digest authz.Digest) {
	if l != nil && l.tokens == tokens && subtle.ConstantTimeCompare(l.text, text) == 1 {
		return l.digest
	}
	digest, _ = tokens.DigestOf(text)
	if l != nil && len(text) <= token.MaxTokenLen {
		*l = Last{append(l.text[:0], text...), digest, tokens}
	}
	return digest
}

// request reads one question about the token with the digest given, with the help of m.
func (q *Question) request(tokens *token.Format, digest authz.Digest, m *jobwardv1.Question) (authz.Request, error) {
	if (len(q.Token) > 0) == (len(q.Digest) > 0) || len(q.Digest) != 0 && len(q.Digest) != len(digest) {
		_, err := wire.ShownDigest(tokens, string(q.Token), q.Digest) // which says what is wrong
		return authz.Request{}, err
	}
	if err := q.check(); err != nil {
		return authz.Request{}, err
	}
	q.into(m)
	return wire.QuestionRequest(digest, m)
}

// refuse says what is wrong with a message that was found wrong, in the words of
// package wire, which the fast way has no room for.
func (in *Inbox) refuse(tokens *token.Format) error {
	for i := range in.Questions {
		if err := in.Questions[i].check(); err != nil {
			v := wire.AsError(err).Violations[0]
			return authz.Invalid(fmt.Sprintf("questions[%d].%s", i, v.Field), "%s", v.Message)
		}
	}
	if in.Shape == BatchCheck {
		return in.refuseBatch(tokens)
	}
	return in.refuseStream(tokens)
}

func (in *Inbox) refuseBatch(tokens *token.Format) error {
	m := &jobwardv1.BatchCheckRequest{Token: string(in.Batch.Token), TokenDigest: in.Batch.Digest}
	for i := range in.Questions {
		q := &jobwardv1.Question{}
		in.Questions[i].into(q)
		m.Questions = append(m.Questions, q)
	}
	if in.More {
		m.Questions = append(m.Questions, &jobwardv1.Question{})
	}
	_, err := wire.BatchRequests(tokens, m, nil)
	return err
}

func (in *Inbox) refuseStream(tokens *token.Format) error {
	m := &jobwardv1.CheckStreamRequest{}
	for i := range in.Questions {
		q := jobwardv1.Question{}
		in.Questions[i].into(&q)
		m.Questions = append(m.Questions, &jobwardv1.CheckRequest{
			Token: string(in.Questions[i].Token), TokenDigest: in.Questions[i].Digest, TargetProjectId: q.TargetProjectId, TargetProjectPath: q.TargetProjectPath,
			Permission: q.Permission, Surface: q.Surface,
		})
	}
	if in.More {
		m.Questions = append(m.Questions, &jobwardv1.CheckRequest{})
	}
	_, err := wire.StreamRequests(tokens, m, nil)
	return err
}
