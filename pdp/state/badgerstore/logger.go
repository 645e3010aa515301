package badgerstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logger hands what Badger says to ours. Badger logs an error where it goes on after one:
// when it cannot write a table, it tries again for ever, though a sync that failed once and
// then succeeds may have lost what it was for. So an error in its log stops the store (P4).
type logger struct{ s *Store }

func (l *logger) Errorf(format string, args ...any) {
	l.s.torn.Store(true)
	l.s.fail(fmt.Errorf("Badger: "+strings.TrimSpace(format), args...))
}

func (l *logger) Warningf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }
func (l *logger) Infof(format string, args ...any)    { l.log(slog.LevelDebug, format, args) }
func (l *logger) Debugf(string, ...any)               {}

func (l *logger) log(level slog.Level, format string, args []any) {
	l.s.log.Log(context.Background(), level, "Badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
}
