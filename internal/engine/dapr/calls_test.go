package dapr

import (
	"testing"

	"github.com/dapr/durabletask-go/api/protos"
)

// TestResponseToAFormerCallIsDropped: a sidecar takes it for that to the current call
// of the same instance and number. The same call may run twice.
func TestResponseToAFormerCallIsDropped(t *testing.T) {
	t.Parallel()
	var c calls
	begin := func(instance string, number int32, id string) int32 {
		r := &protos.ActivityRequest{
			TaskId: number, TaskExecutionId: id, WorkflowInstance: &protos.WorkflowInstance{InstanceId: instance},
		}
		c.begin(r)
		return r.GetTaskId()
	}
	end := func(instance string, worker, want int32, wanted bool) {
		t.Helper()
		r := &protos.ActivityResponse{InstanceId: instance, TaskId: worker}
		if got := c.end(r); got != wanted || r.GetTaskId() != want {
			t.Errorf("response of %s for number %d: wanted %v as number %d, want %v as %d",
				instance, worker, got, r.GetTaskId(), wanted, want)
		}
	}
	former, other := begin("p", 7, "a"), begin("q", 7, "b")
	current := begin("p", 7, "c")
	again := begin("p", 7, "c")
	end("p", former, 7, false)
	end("q", other, 7, true)
	end("p", current, 7, true)
	end("p", again, 7, true)
	next := begin("p", 7, "d")
	end("p", next, 7, true)
	end("p", 99, 99, true) // it was sent before
	if n := len(c.run) + len(c.latest) + len(c.count); n != 0 {
		t.Errorf("%d entries are left after the last response, want none", n)
	}
}
