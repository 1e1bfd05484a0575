package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ordersaga/ordersaga/internal/testkit"
)

const guide = "../../docs/deploy-eks.md"

// standIn replaces each program of the guide. It records its arguments and prints
// what the real program would.
const standIn = `#!/bin/bash
f=$(mktemp "$GUIDE_CALLS/$(date +%s%N)-XXXX")
printf '%s\0' "${0##*/}" "$@" >"$f"
case "${0##*/} $*" in
kubectl*" -f -") cat >"$f.stdin" ;;
docker*--password-stdin*) cat >/dev/null ;;
*port-forward*) exec sleep 600 ;;
kubectl*jsonpath*) echo c2VjcmV0 ;;
git*) echo v1.2.3 ;;
openssl*) echo 0123456789abcdef ;;
aws*get-caller-identity*) echo 123456789012 ;;
aws*oidc.issuer*) echo https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE ;;
aws*describe-subnets*) echo "subnet-1	subnet-2" ;;
aws*OrderQueueUrl*) echo https://sqs.eu-central-1.amazonaws.com/123456789012/OrderProcessingQueue ;;
aws*RoleArn*) echo arn:aws:iam::123456789012:role/a-role ;;
aws*) echo an-answer ;;
esac
`

// call is a command that the guide ran.
type call struct {
	program string
	args    []string
	stdin   []byte
}

func (c call) String() string { return c.program + " " + strings.Join(c.args, " ") }

// flag returns the value of a flag.
func (c call) flag(name string) string {
	if i := slices.Index(c.args, name); i >= 0 && i+1 < len(c.args) {
		return c.args[i+1]
	}
	return ""
}

// TestGuide runs the guide for EKS with stand-ins, and checks their arguments
// against the real programs, charts and templates, without a cloud.
func TestGuide(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(read(t, guide), -1)
	if len(blocks) < 20 {
		t.Fatalf("the guide has %d blocks of commands, want 20 or more", len(blocks))
	}
	script := "set -eu -o pipefail\n"
	var commands strings.Builder
	for _, b := range blocks {
		commands.WriteString(b[1])
	}
	script += commands.String()
	g := follow(t, script)
	t.Run("ordersaga", g.ordersaga)
	t.Run("files", g.files)
	t.Run("stack", g.stack)
	t.Run("charts and kubectl", g.charts)
	t.Run("aws", g.aws)
}

type guided struct {
	dir   string
	calls []call
}

// of returns the calls of a program.
func (g guided) of(t *testing.T, program string) (calls []call) {
	t.Helper()
	for _, c := range g.calls {
		if c.program == program {
			calls = append(calls, c)
		}
	}
	if len(calls) == 0 {
		t.Fatalf("the guide never runs %s, want at least one call", program)
	}
	return calls
}

func follow(t *testing.T, script string) guided {
	t.Helper()
	g := guided{dir: t.TempDir()}
	made := filepath.Join(g.dir, "calls")
	root, err := filepath.Abs("../..")
	err = errors.Join(err, os.Mkdir(made, 0o700), os.Mkdir(filepath.Join(g.dir, "bin"), 0o700),
		os.Symlink(filepath.Join(root, "deploy"), filepath.Join(g.dir, "deploy")))
	for _, name := range []string{"aws", "docker", "eksctl", "git", "go", "helm", "kubectl", "openssl", "ordersaga"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(g.dir, "bin", name), []byte(standIn), 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = g.dir
	cmd.Env = []string{"PATH=" + filepath.Join(g.dir, "bin") + ":/usr/bin:/bin", "GUIDE_CALLS=" + made, "HOME=" + g.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 1 // port-forwards keep running and hold the pipe
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("the guide stops: %v: %s", err, tail(out.Bytes(), 2000))
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the port-forwards
	entries, err := os.ReadDir(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".stdin") {
			continue
		}
		words := strings.Split(strings.TrimSuffix(read(t, filepath.Join(made, e.Name())), "\x00"), "\x00")
		in, _ := os.ReadFile(filepath.Join(made, e.Name()+".stdin")) // most have none
		g.calls = append(g.calls, call{words[0], words[1:], in})
	}
	return g
}

// ordersaga checks that every command and flag exists.
func (g guided) ordersaga(t *testing.T) {
	for _, c := range g.of(t, "ordersaga") {
		parser, err := newKong(&cli{}, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(c.args); err != nil {
			t.Errorf("the guide runs %s, which is not valid: %v", c, err)
		}
	}
}

// files checks that files which the guide writes or pipes are YAML, and that its
// sources exist.
func (g guided) files(t *testing.T) {
	for _, name := range []string{"cluster.yaml", "first.yaml", "production.yaml"} {
		documents(t, []byte(read(t, filepath.Join(g.dir, name))))
	}
	for _, c := range g.calls {
		for _, d := range documents(t, c.stdin) {
			if d.Kind == "" || d.Metadata.Name == "" {
				t.Errorf("%s: an object of kind %q and name %q, want both set", c, d.Kind, d.Metadata.Name)
			}
		}
		for _, flag := range []string{"-f", "--template-file"} {
			if file := c.flag(flag); file != "" && file != "-" && !strings.Contains(file, "://") {
				read(t, filepath.Join(g.dir, file))
			}
		}
	}
}

// object is a Kubernetes object that kubectl may name.
type object struct {
	Kind     string
	Metadata struct{ Name string }
}

func documents(t *testing.T, b []byte) (all []object) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		all = append(all, o)
	}
}

// stack checks that parameters and outputs are those of the template.
func (g guided) stack(t *testing.T) {
	var template struct {
		Parameters map[string]yaml.Node `yaml:"Parameters"`
		Outputs    map[string]yaml.Node `yaml:"Outputs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "../../deploy/cloudformation/ordersaga.yaml")), &template); err != nil {
		t.Fatal(err)
	}
	deployed := false
	for _, c := range g.of(t, "aws") {
		if i := slices.Index(c.args, "--parameter-overrides"); i >= 0 {
			deployed = true
			for _, p := range c.args[i+1:] {
				name, value, _ := strings.Cut(p, "=")
				if _, ok := template.Parameters[name]; !ok || value == "" {
					t.Errorf("the guide sets %s, want a parameter of the stack, with a value", p)
				}
			}
		}
		for _, of := range regexp.MustCompile(`OutputKey=='(\w+)'`).FindAllStringSubmatch(c.String(), -1) {
			if _, ok := template.Outputs[of[1]]; !ok {
				t.Errorf("the guide reads output %s, want one that the stack has", of[1])
			}
		}
	}
	if !deployed {
		t.Error("the guide never deploys the stack, want an aws call with --parameter-overrides")
	}
}

// charts checks that charts render with the guide's values and have the objects
// that kubectl names.
func (g guided) charts(t *testing.T) {
	helm := testkit.Pinned(t, "helm", "helm")
	made := []string{"service/monitoring-grafana"} // of a chart that is not here
	installed := map[string]call{}
	for _, c := range g.of(t, "helm") {
		if c.args[0] != "upgrade" {
			continue
		}
		args := []string{"template"}
		for i := 1; i < len(c.args); i++ {
			switch c.args[i] {
			// Not --reuse-values, which lacks a chart's new values.
			case "--install", "--wait", "--atomic", "--create-namespace", "--reset-then-reuse-values":
			case "--version", "--timeout":
				i++
			case "dapr/dapr":
				args = append(args, daprChart(t))
			default:
				args = append(args, c.args[i])
			}
		}
		switch {
		case slices.Contains(c.args, "kedacore/keda"), slices.Contains(c.args, "prometheus-community/kube-prometheus-stack"):
			continue // their charts are in no module
		case slices.Contains(c.args, "--reset-then-reuse-values"):
			args = append(args, "-f", "first.yaml", "--set", "requireCRDs=false")
		case slices.Contains(c.args, "deploy/helm/ordersaga"):
			args = append(args, "--set", "requireCRDs=false")
		}
		cmd := exec.Command(helm, args...)
		cmd.Dir = g.dir
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("the guide runs %s, and the chart does not render: %v: %s", c, err, complaints.String())
		}
		installed[c.args[1]] = c
		for _, o := range documents(t, out) {
			made = append(made, strings.ToLower(o.Kind)+"/"+o.Metadata.Name)
		}
	}
	if len(installed) < 2 {
		t.Errorf("the guide installs only %v, want two charts or more", installed)
	}
	for _, c := range g.of(t, "kubectl") {
		for i, a := range c.args {
			if regexp.MustCompile(`^(deployment|service|statefulset)/`).MatchString(a) && !slices.Contains(made, a) {
				t.Errorf("the guide runs %s, want %s in a chart", c, a)
			}
			if a == "scaledobject" && !slices.Contains(made, a+"/"+c.args[i+1]) {
				t.Errorf("the guide runs %s, want %s/%s in a chart", c, a, c.args[i+1])
			}
		}
	}
}

// daprChart returns the chart in the module that make dapr builds from.
func daprChart(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/dapr/dapr")
	cmd.Dir = "../../tools/dapr"
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		testkit.SkipOrFail(t, "Dapr's module is not there: make dapr")
	}
	return filepath.Join(dir, "charts", "dapr")
}

// aws checks operations and parameters with the AWS CLI's own models: it sends a
// request only if they are valid.
func (g guided) aws(t *testing.T) {
	program := testkit.RequireTool(t, "aws", "apt-get install awscli")
	var asked sync.Map // by the first part of the path, a subtest's name
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(strings.Split(r.URL.Path, "/")[1], true)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(server.Close) // after the parallel subtests
	env := append(os.Environ(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_MAX_ATTEMPTS=1",
		"AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1", "NO_PROXY=127.0.0.1")
	seen := map[string]bool{}
	for _, c := range g.of(t, "aws") {
		shape := strings.Join(c.args[:2], " ")
		if shape == "cloudformation deploy" || shape == "ecr get-login-password" {
			continue // commands of the CLI itself, without a model
		}
		var flags strings.Builder
		for _, a := range c.args {
			if strings.HasPrefix(a, "--") {
				flags.WriteString(" " + a)
			}
		}
		shape += flags.String()
		if seen[shape] {
			continue // the same flags with other values
		}
		seen[shape] = true
		t.Run(strings.Join(c.args[:2], " "), func(t *testing.T) {
			t.Parallel()
			name := strings.ReplaceAll(t.Name(), "/", ".")
			cmd := exec.Command(program, append([]string{"--endpoint-url", server.URL + "/" + url.PathEscape(name)}, c.args...)...)
			cmd.Env = env
			out, _ := cmd.CombinedOutput() // the server rejects every request
			if strings.Contains(string(out), "Unknown options: --warm-throughput") {
				t.Skip("this aws is older than --warm-throughput")
			}
			if _, ok := asked.Load(name); !ok {
				t.Errorf("the AWS CLI sent no request for %s, want one: %s", c, out)
			}
		})
	}
}
