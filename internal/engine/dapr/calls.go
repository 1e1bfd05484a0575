package dapr

import (
	"sync"

	"github.com/dapr/durabletask-go/api/protos"
)

// calls distinguishes the activities that a worker runs. A sidecar takes the response
// for an activity by its instance and number alone (Dapr 1.18.2), so that the response
// to an activity of an earlier generation or execution would complete the current
// one's. The worker runs each activity under a number of its own, and drops a response
// for which the sidecar has sent another call meanwhile. The zero value has no calls.
type calls struct {
	mu     sync.Mutex
	number int32            // the last one assigned
	run    map[int32]call   // in progress, by the worker's number
	latest map[place]string // the id of the last call
	count  map[place]int    // of calls in progress
}

// place is what a sidecar distinguishes activities by.
type place struct {
	instance string
	number   int32
}

// call is one activity of a worker.
type call struct {
	place

	id string // durabletask's TaskExecutionId
}

// begin changes the number of a call to one of the worker's own.
func (c *calls) begin(r *protos.ActivityRequest) {
	at := place{instance: r.GetWorkflowInstance().GetInstanceId(), number: r.GetTaskId()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil {
		c.run, c.latest, c.count = map[int32]call{}, map[place]string{}, map[place]int{}
	}
	c.number++
	c.run[c.number] = call{place: at, id: r.GetTaskExecutionId()}
	c.latest[at] = r.GetTaskExecutionId()
	c.count[at]++
	r.TaskId = c.number
}

// end changes the number of a response back, and reports whether the sidecar waits
// for it. A response that end has seen before stays as it is.
func (c *calls) end(r *protos.ActivityResponse) (wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.run[r.GetTaskId()]
	if !ok || was.instance != r.GetInstanceId() {
		return true
	}
	delete(c.run, r.GetTaskId())
	r.TaskId = was.number
	wanted = c.latest[was.place] == was.id
	c.count[was.place]--
	if c.count[was.place] == 0 {
		delete(c.count, was.place)
		delete(c.latest, was.place)
	}
	return wanted
}
