package orderstore

import (
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/text"
)

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func strs(ss []string) types.AttributeValue {
	l := make([]types.AttributeValue, len(ss))
	for i, s := range ss {
		l[i] = str(s)
	}
	return &types.AttributeValueMemberL{Value: l}
}

// nonEmpty returns the attributes, given as name and value in turn, that have a value.
// Values are cut to text.Max, because a reason may come from another system.
func nonEmpty(pairs ...string) map[string]types.AttributeValue {
	m := map[string]types.AttributeValue{}
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			m[pair[0]] = str(text.Cut(pair[1], text.Max))
		}
	}
	return m
}

func sortedKeys(m map[string]types.AttributeValue) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
