#!/usr/bin/env bash
# github.com/dbos-inc/dbos-transact-golang v1.8.0: two executors of one schedule
# whose machines are in different time zones run every tick twice.
#
# A schedule is a row in the database, and a tick's workflow has an id made of the
# schedule's name and the tick's time, so that executors skip a tick that another one
# has started. A schedule fires each second and names its own time zone. Two processes
# of one application serve it from one database, first both with TZ=UTC, then one of
# them with TZ=Europe/Berlin. One would expect one run for a tick in both cases: the
# instants are the same, and DBOS promises one executor for a tick (its Python SDK
# writes the id in the schedule's zone, whatever the machine's). Seen: in the second
# case each tick that both saw runs twice, for the id has the machine's offset in it,
# ...T12:00:00Z or ...T13:00:00+01:00. BackfillSchedule, which is to leave out what has
# run, likewise runs it again if its bounds are times of another zone.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'wait; rm -rf "$dir"' EXIT
cd "$dir"
printf 'module example.com/billing\n\ngo 1.26\n\nrequire github.com/dbos-inc/dbos-transact-golang v1.8.0\n' >go.mod
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite"
)

func bill(_ dbos.Context, in dbos.ScheduledWorkflowInput) (any, error) {
	fmt.Println(in.ScheduledTime.Unix()) // one line for one run
	return nil, nil
}

func main() {
	c, err := dbos.NewContext(context.Background(), dbos.Config{
		AppName: "billing", DatabaseURL: "sqlite:" + os.Args[1], SchedulerPollingInterval: 200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	must(err)
	dbos.RegisterWorkflow(c, bill)
	must(c.Launch())
	must(dbos.ApplySchedules(c, []dbos.ScheduleSpec{{
		ScheduleName: "bill", Schedule: "* * * * * *", CronTimezone: "Europe/Berlin", Workflow: bill,
	}}))
	time.Sleep(6 * time.Second)
	must(dbos.PauseSchedule(c, "bill"))
	time.Sleep(2 * time.Second)
	c.Shutdown(c, 5*time.Second)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go build -o billing .
for zone in UTC Europe/Berlin; do
	rm -f state*
	TZ=UTC ./billing state >first &
	sleep 1 # it makes the tables
	TZ=$zone ./billing state >second
	wait
	sort first second | uniq -c | awk -v z="$zone" '{n[$1]++} END {printf "UTC and %s: %d ticks ran once, %d twice\n", z, n[1], n[2]}'
done | tee seen
grep -q 'UTC and UTC: [1-9][0-9]* ticks ran once, 0 twice' seen && grep -q 'Berlin: [0-9]* ticks ran once, [3-9] twice' seen || { echo "no longer so"; exit 1; }
