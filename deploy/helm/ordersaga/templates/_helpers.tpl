{{- define "ordersaga.fullname" -}}
{{- $name := .Release.Name }}
{{- if not (contains "ordersaga" $name) }}{{ $name = printf "%s-ordersaga" $name }}{{ end }}
{{- $name | trunc 48 | trimSuffix "-" }}
{{- end }}

{{/* Name of a component's objects: (dict "root" $ "component" "api"). */}}
{{- define "ordersaga.name" -}}
{{ include "ordersaga.fullname" .root }}-{{ .component }}
{{- end }}

{{- define "ordersaga.selector" -}}
app.kubernetes.io/name: ordersaga
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ordersaga.labels" -}}
{{ include "ordersaga.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* Metadata of every object. */}}
{{- define "ordersaga.metadata" -}}
name: {{ include "ordersaga.name" . }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "ordersaga.labels" . | nindent 2 }}
{{- end }}

{{- define "ordersaga.account" -}}
{{- $account := index .root.Values.serviceAccounts .account }}
{{- $account.name | default (printf "%s-%s" (include "ordersaga.fullname" .root) .account) }}
{{- end }}

{{/* The payment provider's app id; empty if it is called by URL. */}}
{{- define "ordersaga.paymentApp" -}}
{{- if .Values.simulators.payment.enabled }}payment{{ else }}{{ .Values.payment.appId }}{{ end }}
{{- end }}

{{/* A sidecar's environment, in the format of Dapr's injector. */}}
{{- define "ordersaga.sidecarEnv" -}}
{{- $env := dict "AWS_REGION" .Values.aws.region }}
{{- with .Values.aws.endpoint }}{{ $_ := set $env "AWS_ENDPOINT_URL" . }}{{ end }}
{{- with .Values.state.address }}{{ $_ := set $env "ORDERSAGA_STATE_ADDRESS" . }}{{ end }}
{{- with .Values.tracing }}
{{- if .endpoint }}{{ $_ := set $env "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint }}{{ $_ := set $env "OTEL_EXPORTER_OTLP_PROTOCOL" .protocol }}{{ end }}
{{- end }}
{{- $pairs := list }}
{{- range $name, $value := merge (deepCopy .Values.dapr.env) $env }}
{{- $pairs = append $pairs (printf "%s=%s" $name $value) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{/* Annotations of a pod with a sidecar: root, appId, and appPort if Dapr calls it. */}}
{{- define "ordersaga.dapr" -}}
{{- $dapr := .root.Values.dapr -}}
dapr.io/enabled: "true"
dapr.io/app-id: {{ .appId }}
{{- with .appPort }}
dapr.io/app-port: {{ . | quote }}
dapr.io/app-protocol: http
{{- end }}
dapr.io/config: ordersaga
dapr.io/env: {{ include "ordersaga.sidecarEnv" .root | quote }}
dapr.io/log-level: {{ $dapr.logLevel }}
dapr.io/max-body-size: {{ printf "%dMi" (int $dapr.maxBodySize) }}
dapr.io/log-as-json: {{ eq .root.Values.log.format "json" | quote }}
dapr.io/disable-builtin-k8s-secret-store: "true"
dapr.io/sidecar-seccomp-profile-type: RuntimeDefault
{{- if $dapr.nativeSidecar }}
dapr.io/enable-native-sidecar: "true"
{{- else }}
dapr.io/block-shutdown-duration: {{ printf "%ds" (add .root.Values.worker.shutdownSeconds 5) }}
{{- end }}
{{- with $dapr.apiTokenSecret }}
dapr.io/api-token-secret: {{ . }}
{{- end }}
{{- if and .appPort $dapr.appTokenSecret }}
dapr.io/app-token-secret: {{ $dapr.appTokenSecret }}
{{- end }}
{{- range $kind, $amounts := $dapr.resources }}
{{- range $what, $amount := $amounts }}
{{- with $amount }}
dapr.io/sidecar-{{ $what }}-{{ trimSuffix "s" $kind }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
# Restarts the pods when Dapr's resources change: sidecars read them at start.
ordersaga/dapr: {{ include (print .root.Template.BasePath "/dapr.yaml") .root | sha256sum | trunc 16 | quote }}
{{- with .root.Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Common part of all pod specs: root, component, account. */}}
{{- define "ordersaga.pod" -}}
{{- $v := .root.Values -}}
serviceAccountName: {{ include "ordersaga.account" . }}
automountServiceAccountToken: false # Dapr's sidecar and AWS use tokens of their own
enableServiceLinks: false # a Service's ORDERSAGA_… variables would be read as flags
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $v.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- if $v.topologySpread.enabled }}
topologySpreadConstraints:
  {{- $context := . }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: {{ eq . "kubernetes.io/hostname" | ternary "ScheduleAnyway" $v.topologySpread.whenUnsatisfiable }}
    nodeTaintsPolicy: Honor # ignore nodes that cannot run these pods
    labelSelector:
      matchLabels:
        {{- include "ordersaga.selector" $context | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $v $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Common part of all containers: root, component, port. */}}
{{- define "ordersaga.container" -}}
{{- $image := .root.Values.image -}}
name: {{ .component }}
image: "{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ $image.pullPolicy }}
ports:
  - {name: http, containerPort: {{ .port }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The environment of API, workers and reconciler. */}}
{{- define "ordersaga.env" -}}
{{- $v := .Values }}
{{- $env := list
  (list "LOG_LEVEL" $v.log.level)
  (list "LOG_FORMAT" $v.log.format)
  (list "LISTEN" ":8080")
  (list "ENGINE" "dapr")
  (list "REGION" $v.aws.region)
  (list "TABLE_PREFIX" $v.aws.tablePrefix)
  (list "PAYMENT_APP" (include "ordersaga.paymentApp" .))
  (list "PAYMENT_TIMEOUT" $v.payment.timeout)
  (list "SECRET_STORE" $v.payment.secretStore)
  (list "APPROVAL_ABOVE" ($v.orders.approvalAbove | toString))
  (list "APPROVAL_TIMEOUT" $v.orders.approvalTimeout)
  (list "AWAIT_CARRIER" $v.orders.awaitCarrier)
  (list "CARRIER_TIMEOUT" $v.orders.carrierTimeout)
  (list "PATIENCE" $v.orders.patience)
  (list "RECONCILE_GRACE" $v.reconciler.grace)
  (list "SHUTDOWN_TIMEOUT" (printf "%ds" (int $v.worker.shutdownSeconds)))
}}
{{- with $v.aws.endpoint }}{{ $env = append $env (list "AWS_ENDPOINT" .) }}{{ end }}
{{- with $v.payment.installation }}{{ $env = append $env (list "INSTALLATION" .) }}{{ end }}
{{- with $v.payment.url }}{{ $env = append $env (list "PAYMENT_URL" .) }}{{ end }}
{{- if $v.auth.issuer }}
{{- $env = concat $env (list
  (list "OIDC_ISSUER" $v.auth.issuer)
  (list "OIDC_AUDIENCE" (join "," $v.auth.audience))
  (list "OIDC_ROLES_CLAIM" $v.auth.rolesClaim)
  (list "OIDC_ROLES_PREFIX" $v.auth.rolesPrefix)
  (list "OIDC_CLIENT_ID" $v.auth.clientId)
  (list "PUBLIC_URL" $v.auth.publicUrl)
) }}
{{- else }}
{{- $env = append $env (list "OPEN" true) }}
{{- end }}
{{- range $env }}
- {name: ORDERSAGA_{{ first . }}, value: {{ last . | toString | quote }}}
{{- end }}
{{- with $v.auth.clientSecret }}
{{- if .secret }}
- name: ORDERSAGA_OIDC_CLIENT_SECRET
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- include "ordersaga.commonEnv" . }}
{{- with $v.dapr.apiTokenSecret }}
- name: ORDERSAGA_DAPR_API_TOKEN # Dapr's injector sets it in the sidecar only
  valueFrom:
    secretKeyRef: {name: {{ . }}, key: token}
{{- end }}
{{- end }}

{{/* The environment of all apps. */}}
{{- define "ordersaga.commonEnv" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol }}}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
A Deployment of `ordersaga worker`: root, component, values, replicas (unset for an
autoscaler), env (a list of pairs), sleep (seconds before it stops).
*/}}
{{- define "ordersaga.worker" -}}
{{- $pod := dict "root" .root "component" .component "account" "worker" "port" 8080 -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "ordersaga.metadata" . | nindent 2 }}
spec:
  {{- if hasKey . "replicas" }}
  replicas: {{ .replicas }}
  {{- end }}
  {{- if eq .component "reconciler" }}
  strategy: {type: Recreate} # one is enough
  {{- end }}
  selector:
    matchLabels:
      {{- include "ordersaga.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "ordersaga.selector" . | nindent 8 }}
        {{- with .root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        {{- include "ordersaga.dapr" (dict "root" .root "appId" "ordersaga") | nindent 8 }}
    spec:
      {{- include "ordersaga.pod" $pod | nindent 6 }}
      terminationGracePeriodSeconds: {{ add .root.Values.worker.shutdownSeconds .sleep 15 }}
      containers:
        - {{ include "ordersaga.container" $pod | nindent 10 | trim }}
          args: [worker]
          env:
            {{- range .env }}
            - {name: ORDERSAGA_{{ first . }}, value: {{ last . | toString | quote }}}
            {{- end }}
            {{- include "ordersaga.env" .root | trim | nindent 12 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          startupProbe: # it waits a minute for its sidecar, then reports what is missing and exits
            httpGet: {path: /healthz, port: http}
            periodSeconds: 5
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 7 # it queries DynamoDB and the sidecar
          {{- if .sleep }}
          lifecycle: # wait until no more requests are routed here
            preStop: {sleep: {seconds: {{ .sleep }}}}
          {{- end }}
{{- end }}

{{- define "ordersaga.disruptions" -}}
{{- if .root.Values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "ordersaga.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "ordersaga.selector" . | nindent 6 }}
{{- end }}
{{- end }}
