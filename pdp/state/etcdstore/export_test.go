package etcdstore

import (
	"context"
	"time"
)

// Fold folds the log now.
func (s *Store) Fold(ctx context.Context) error {
	_, err := s.fold(ctx)
	return err
}

// CutLog removes what the log need not keep.
func (s *Store) CutLog(ctx context.Context) error { return s.cutLog(ctx) }

// CleanStages looks for stages that were given up, at a time.
func (s *Store) CleanStages(ctx context.Context, since map[string]time.Time, now time.Time) error {
	return s.cleanStages(ctx, since, now)
}

// StaleAfter is how long a stage that no entry names is left alone.
const StaleAfter = staleAfter

// EndWatch ends the watch that there is; the store begins another.
func (s *Store) EndWatch() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.endWatch()
}

// ClusterValue gives what a store writes that was made in a cluster.
func ClusterValue(cluster uint64) string { return string((&Store{cluster: cluster}).clusterValue()) }

// AskSpace asks etcd for its size now.
func (s *Store) AskSpace() { s.askSpace() }
