package main

import (
	"math"
	"testing"
	"testing/fstest"
)

// TestAvailableMemoryIsTheSmallestLimit: of the process's control groups and of the
// machine.
func TestAvailableMemoryIsTheSmallestLimit(t *testing.T) {
	t.Parallel()
	const machine = "MemTotal:       16000000 kB\nMemFree: 1 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no Linux": {nil, math.MaxInt64},
		"no group": {map[string]string{"proc/meminfo": machine}, 16000000 << 10},
		"group, no limit": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n",
		}, 16000000 << 10},
		"container": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n",
		}, 512 << 20},
		"limits of version 1": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:memory:/a\n"}, 16000000 << 10},
		"limit of a parent": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/user/shell\n",
			"sys/fs/cgroup/user/memory.max": "1048576\n", "sys/fs/cgroup/user/shell/memory.max": "2097152\n",
		}, 1 << 20},
		"limit above the machine's memory": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "99999999999999\n",
		}, 16000000 << 10},
	} {
		files := fstest.MapFS{}
		for file, text := range c.files {
			files[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got, known := availableMemory(files); got != c.want || known == (name == "limits of version 1") {
			t.Errorf("%s: available memory = %d, known %t, want %d", name, got, known, c.want)
		}
	}
}
