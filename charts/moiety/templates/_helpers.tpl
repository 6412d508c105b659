{{/* Short enough that a pod of an expert pool, with its suffixes, stays a valid name. */}}
{{- define "moiety.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 32 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 32 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "moiety.expertFullname" -}}
{{- printf "%s-expert-%s" (include "moiety.fullname" .root) .pool.name -}}
{{- end -}}

{{- define "moiety.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "moiety.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What never changes during the life of an object, and tells components apart. Takes root, component, and pool for expert workers. */}}
{{- define "moiety.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
moiety.io/expert-pool: {{ .name }}
{{- end }}
{{- end -}}

{{- define "moiety.labels" -}}
{{ include "moiety.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: moiety
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Takes root and repository. */}}
{{- define "moiety.image" -}}
{{- $images := .root.Values.images -}}
{{- $tag := default .root.Chart.AppVersion $images.tag -}}
{{- if $images.registry -}}
{{- printf "%s/%s:%s" (trimSuffix "/" $images.registry) .repository $tag -}}
{{- else -}}
{{- printf "%s:%s" .repository $tag -}}
{{- end -}}
{{- end -}}

{{/* The parts of a pod that have nothing to do with what runs in it. Takes root, component, settings, and pool for expert workers. */}}
{{- define "moiety.podSettings" -}}
serviceAccountName: {{ include "moiety.serviceAccountName" .root }}
automountServiceAccountToken: false
{{- /* Services' names would become variables such as MOIETY_HTTP_PORT, which the processes would read. */}}
enableServiceLinks: false
securityContext:
  {{- include "moiety.podSecurityContext" . | nindent 2 }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .settings.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- $labels := include "moiety.selectorLabels" . | fromYaml }}
  {{- range .settings.topologySpreadConstraints }}
  - {{- mergeOverwrite (dict "labelSelector" (dict "matchLabels" $labels)) . | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Resources of a worker's container, its GPUs among the limits. */}}
{{- define "moiety.workerResources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpus -}}
{{- $_ := set $resources "limits" (merge (dict .gpuResource (int .gpus)) (default dict $resources.limits)) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* The pools of expert workers with what they do not say themselves, as {"pools": [...]} in JSON. */}}
{{- define "moiety.expertPools" -}}
{{- $pools := list -}}
{{- range .Values.expertPools -}}
{{- $pool := deepCopy $.Values.expertDefaults -}}
{{- $autoscaling := mergeOverwrite (deepCopy $pool.autoscaling) (default dict .autoscaling) -}}
{{- range $key, $value := . -}}
{{- $_ := set $pool $key $value -}}
{{- end -}}
{{- $_ := set $pool "autoscaling" $autoscaling -}}
{{- $pools = append $pools $pool -}}
{{- end -}}
{{- dict "pools" $pools | toJson -}}
{{- end -}}

{{- define "moiety.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "moiety.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Seconds until Kubernetes kills a process that should long have ended by itself: what is before the drain, the drain, and some more. */}}
{{- define "moiety.gracePeriodSeconds" -}}
{{- add (default 0 .lameDuckSeconds) .drainTimeoutSeconds 10 -}}
{{- end -}}

{{/* Variables that every process reads. Takes root, drainTimeoutSeconds, and plain for one without gRPC. */}}
{{- define "moiety.processEnv" -}}
- name: MOIETY_HTTP_HOST
  value: 0.0.0.0
- name: MOIETY_HTTP_PORT
  value: "8080"
- name: MOIETY_LOG_LEVEL
  value: {{ .root.Values.logLevel }}
{{- if and .root.Values.tls.enabled (not .plain) }}
- name: MOIETY_TLS_CA
  value: /etc/moiety/tls/ca.crt
- name: MOIETY_TLS_CERT
  value: /etc/moiety/tls/tls.crt
- name: MOIETY_TLS_KEY
  value: /etc/moiety/tls/tls.key
# Workers are called by their pods' addresses, which no certificate bears.
- name: MOIETY_TLS_SERVER_NAME
  value: {{ include "moiety.tlsServerName" .root }}
{{- end }}
- name: MOIETY_DRAIN_TIMEOUT_MS
  value: {{ mul .drainTimeoutSeconds 1000 | quote }}
{{- end -}}

{{/* Takes root. Of every process but the router. */}}
{{- define "moiety.tracesEnv" -}}
{{- with .Values.monitoring.tracesUrl -}}
- name: MOIETY_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end -}}
{{- end -}}

{{/* Takes root. The files are those of the secret, which change in place when it does. */}}
{{- define "moiety.extraVolumeMounts" -}}
{{- if .Values.redis.caSecretName }}
- name: redis-ca
  mountPath: /etc/moiety/redis-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "moiety.tlsServerName" -}}
{{- default (printf "%s-router" (include "moiety.fullname" .)) .Values.tls.serverName -}}
{{- end -}}

{{- define "moiety.tlsSecretName" -}}
{{- default (printf "%s-tls" (include "moiety.fullname" .)) .Values.tls.secretName -}}
{{- end -}}

{{/* A folder and no single files: those of a subPath would not change when the secret does. */}}
{{- define "moiety.tlsVolumeMounts" -}}
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/moiety/tls
  readOnly: true
{{- end }}
{{- end -}}

{{- define "moiety.tlsVolumes" -}}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "moiety.tlsSecretName" . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "moiety.extraVolumes" -}}
{{- if .Values.redis.caSecretName }}
- name: redis-ca
  secret:
    secretName: {{ .Values.redis.caSecretName }}
    defaultMode: 0440
    items:
      - key: {{ .Values.redis.caSecretKey }}
        path: ca.crt
{{- end }}
{{- end -}}

{{- define "moiety.modelEnv" -}}
- name: MOIETY_MODEL
  value: /models/model
{{- end -}}

{{- define "moiety.arithmeticEnv" -}}
- name: MOIETY_ACTIVATION
  value: {{ .Values.model.activation }}
{{- with .Values.model.kernelLevel }}
- name: MOIETY_KERNEL_LEVEL
  value: {{ . }}
{{- end }}
{{- end -}}

{{- define "moiety.redisEnv" -}}
- name: MOIETY_REDIS_URL
  {{- if .Values.redisForTrials.enabled }}
  value: redis://{{ include "moiety.fullname" . }}-redis-for-trials:6379
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.secretName }}
      key: {{ .Values.redis.secretKey }}
  {{- end }}
- name: MOIETY_REDIS_PREFIX
  value: {{ .Values.redis.prefix | quote }}
{{- if .Values.redis.caSecretName }}
- name: NODE_EXTRA_CA_CERTS
  value: /etc/moiety/redis-ca/ca.crt
{{- end }}
{{- end -}}

{{- define "moiety.routerEnv" -}}
- name: MOIETY_ROUTER_ADDRESS
  value: {{ include "moiety.fullname" . }}-router:7070
{{- end -}}

{{/* The pod's name is the process's, its address where others reach it. */}}
{{- define "moiety.workerEnv" -}}
- name: MOIETY_WORKER_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: MOIETY_LISTEN_ADDRESS
  value: 0.0.0.0:7071
- name: MOIETY_ADVERTISE_ADDRESS
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end -}}

{{/* Whole numbers of a values file arrive as floats, which would be written as 1e+09. */}}
{{- define "moiety.configEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ if kindIs "float64" $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ toString $value | quote }}{{ end }}
{{- end }}
{{- end -}}

{{/* Takes root and readinessFailures. */}}
{{- define "moiety.probes" -}}
startupProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div (add .root.Values.startupTimeoutSeconds 1) 2 }}
livenessProbe:
  httpGet: {path: /health, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /ready, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ .readinessFailures }}
{{- end -}}

{{- define "moiety.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: model
  mountPath: /models/model
  readOnly: true
  {{- with .Values.model.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end -}}

{{- define "moiety.volumes" -}}
{{- $model := .Values.model -}}
- name: tmp
  emptyDir: {}
- name: model
  {{- if eq $model.source "persistentVolumeClaim" }}
  persistentVolumeClaim:
    claimName: {{ $model.persistentVolumeClaim.claimName }}
    readOnly: true
  {{- else if eq $model.source "hostPath" }}
  hostPath:
    path: {{ $model.hostPath.path }}
    type: Directory
  {{- else if eq $model.source "download" }}
  persistentVolumeClaim:
    claimName: {{ include "moiety.fullname" . }}-model
    readOnly: true
  {{- else }}
  image:
    reference: {{ $model.image.reference }}
    pullPolicy: {{ $model.image.pullPolicy }}
  {{- end }}
{{- end -}}

{{/* At most so many pods of a component are evicted at once. Takes root, component and settings. */}}
{{- define "moiety.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "moiety.fullname" .root }}-{{ .component }}
  labels:
    {{- include "moiety.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "moiety.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* What tells one set of files of a download from another. */}}
{{- define "moiety.downloadId" -}}
{{- toJson .Values.model.download.files | sha256sum | trunc 16 -}}
{{- end -}}

{{/* Where the model is downloaded, pods wait until it is complete. */}}
{{- define "moiety.waitForModel" -}}
{{- if eq .Values.model.source "download" -}}
initContainers:
  - name: wait-for-model
    image: {{ include "moiety.image" (dict "root" . "repository" .Values.images.gateway) }}
    imagePullPolicy: {{ .Values.images.pullPolicy }}
    securityContext:
      {{- include "moiety.containerSecurityContext" . | nindent 6 }}
    command: [node, -e]
    args:
      - |
        const { existsSync } = require("node:fs");
        const wait = () => existsSync("/model/.complete-{{ include "moiety.downloadId" . }}") || setTimeout(wait, 2000);
        wait();
    resources:
      requests: {cpu: 10m, memory: 64Mi}
      limits: {memory: 128Mi}
    volumeMounts:
      - name: model
        mountPath: /model
        readOnly: true
{{- end -}}
{{- end -}}
