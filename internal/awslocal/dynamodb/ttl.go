package dynamodb

import (
	"context"
	"strconv"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

// sweep removes expired items at every tick until ctx ends.
func (s *Service) sweep(ctx context.Context) {
	tick := time.NewTicker(s.opt.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.expire()
		}
	}
}

// expire removes the items whose TTL attribute is a Unix time, in seconds, that has passed.
func (s *Service) expire() {
	now := attr.Value{Kind: attr.N, Str: strconv.FormatInt(s.opt.Now().Unix(), 10)}
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.tables.Scan(func(_ string, t *table) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.ttl == "" {
			return true
		}
		var expired []change
		t.items.Scan(func(r record) bool {
			if c, ok := r.item[t.ttl].Compare(now); ok && c <= 0 {
				key := r
				key.item = primaryKeyOf(t, r.item)
				expired = append(expired, change{t: t, table: t.name, key: key})
			}
			return true
		})
		if len(expired) > 0 {
			if err := s.commit(expired); err != nil {
				s.opt.Logger.Error().Err(err).Str("table", t.name).Msg("could not remove expired items")
			}
		}
		return true
	})
}

func (s *Service) updateTTL(body, out []byte) ([]byte, error) {
	var in struct {
		TableName               string
		TimeToLiveSpecification struct {
			AttributeName string
			Enabled       bool
		}
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	spec := in.TimeToLiveSpecification
	if spec.AttributeName == "" {
		return nil, validation("1 validation error detected: Value null at 'timeToLiveSpecification.attributeName' " +
			"failed to satisfy constraint: Member must not be null")
	}
	t.mu.Lock()
	if (t.ttl != "") == spec.Enabled {
		t.mu.Unlock()
		if spec.Enabled {
			return nil, validation("TimeToLive is already enabled")
		}
		return nil, validation("TimeToLive is already disabled")
	}
	t.ttl = ""
	if spec.Enabled {
		t.ttl = spec.AttributeName
	}
	t.def.TTL = t.ttl
	def := t.def
	err = s.commit([]change{{table: t.name, def: &def}})
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return appendJSON(out, map[string]any{"TimeToLiveSpecification": spec})
}

func (s *Service) describeTTL(body, out []byte) ([]byte, error) {
	t, err := s.tableOf(body, "DescribeTimeToLive")
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	d := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if t.ttl != "" {
		d = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": t.ttl}
	}
	return appendJSON(out, map[string]any{"TimeToLiveDescription": d})
}
