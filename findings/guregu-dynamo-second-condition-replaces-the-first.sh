#!/usr/bin/env bash
# github.com/guregu/dynamo/v2 v2.1.1 with expressions of the AWS SDK's builder
# (feature/dynamodb/expression v1.10.9): the values of a second condition take the place
# of the first one's, and a stale write goes through.
#
# An ExpressionLiteral carries an expression with its own names and values, such as that
# builder makes (pull request 192, which brought it, says so); they get a prefix, so as
# not to clash with the package's own. Calls of If are combined with AND. An order is to
# be changed if it is still placed, and if its version is 3; each condition is built on
# its own. One would expect both to be asked. Seen: the builder counts from #0 and :0
# each time, all literals of a call get the same prefix, x_, and share one map. What is
# sent is version = 3 AND version = 3, or in the other order status = placed twice, and
# no error is given: so a write of one who read an old version goes through. With one
# literal and one plain If, both are asked.
#
# Needs Go and the Go module proxy; a client that only takes note stands for DynamoDB.
# Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/guregu/dynamo/v2"
	"github.com/guregu/dynamo/v2/dynamodbiface"
)

type client struct{ dynamodbiface.DynamoDBAPI }

func (client) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	var values map[string]any
	err := dynamo.UnmarshalItem(in.ExpressionAttributeValues, &values)
	fmt.Println(*in.ConditionExpression, in.ExpressionAttributeNames, values, err)
	return &dynamodb.UpdateItemOutput{}, nil
}

func literal(name string, value any) dynamo.ExpressionLiteral {
	x, _ := expression.NewBuilder().WithCondition(expression.Name(name).Equal(expression.Value(value))).Build()
	names := map[string]*string{}
	for k, v := range x.Names() {
		names[k] = &v
	}
	return dynamo.ExpressionLiteral{Expression: *x.Condition(), AttributeNames: names, AttributeValues: x.Values()}
}

func main() {
	orders, ctx := dynamo.NewFromIface(client{}).Table("orders"), context.Background()
	placed, version := literal("status", "placed"), literal("version", 3)
	_ = orders.Update("id", "o-1").Set("total", 9).If("?", placed).If("?", version).Run(ctx)
	_ = orders.Update("id", "o-1").Set("total", 9).If("?", version).If("?", placed).Run(ctx)
	_ = orders.Update("id", "o-1").Set("total", 9).If("?", version).If("$ = ?", "status", "placed").Run(ctx)
}
GO
cat >go.mod <<'MOD'
module example.com/conditions

go 1.26

require (
	github.com/aws/aws-sdk-go-v2/feature/dynamodb/expression v1.10.9
	github.com/guregu/dynamo/v2 v2.1.1
)
MOD
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go run . | tee seen
diff seen - <<'WANT' && echo "still so" || { echo "no longer so"; exit 1; }
(#x_0 = :x_0) AND (#x_0 = :x_0) map[#sORXXIYLM:total #x_0:version] map[:v0:9 :x_0:3] <nil>
(#x_0 = :x_0) AND (#x_0 = :x_0) map[#sORXXIYLM:total #x_0:status] map[:v0:9 :x_0:placed] <nil>
(#x_0 = :x_0) AND (#sON2GC5DVOM = :v2) map[#sON2GC5DVOM:status #sORXXIYLM:total #x_0:version] map[:v0:9 :v2:placed :x_0:3] <nil>
WANT
