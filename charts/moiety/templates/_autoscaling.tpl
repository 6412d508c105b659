{{/*
What scales a component. Takes root, component, and pool for expert workers; name and target: what is scaled; pods: a regex of the names of the pods whose
series count; settings: kind, replicas' bounds, what hpa or keda looks at, and behavior.
*/}}
{{- define "moiety.autoscaler" -}}
{{- if eq .settings.kind "hpa" -}}
---
{{ include "moiety.horizontalPodAutoscaler" . }}
{{- else if eq .settings.kind "keda" -}}
---
{{ include "moiety.scaledObject" . }}
{{- end -}}
{{- end -}}

{{- define "moiety.horizontalPodAutoscaler" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels:
    {{- include "moiety.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .target }}
    name: {{ .name }}
  minReplicas: {{ .settings.minReplicas }}
  maxReplicas: {{ .settings.maxReplicas }}
  metrics:
    {{- if .settings.metrics }}
    {{- toYaml .settings.metrics | nindent 4 }}
    {{- else }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .settings.targetCPUUtilizationPercentage }}
    {{- end }}
  {{- with .settings.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Of several triggers the one that asks for most pods counts. */}}
{{- define "moiety.scaledObject" -}}
{{- $series := printf "namespace=%q,pod=~%q" .root.Release.Namespace .pods -}}
{{- $queries := list (list .settings.query .settings.threshold) -}}
{{- $queries = append $queries (list .settings.queueQuery .settings.queueThreshold) -}}
{{- $queries = append $queries (list .settings.tokensQuery .settings.tokensThreshold) -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels:
    {{- include "moiety.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .target }}
    name: {{ .name }}
  minReplicaCount: {{ .settings.minReplicas }}
  maxReplicaCount: {{ .settings.maxReplicas }}
  {{- with .settings.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
  # Nothing is known while Prometheus does not answer: then as many as now.
  fallback:
    failureThreshold: 3
    replicas: {{ .settings.minReplicas }}
    behavior: currentReplicasIfHigher
  triggers:
    {{- range $queries }}
    {{- if first . }}
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: {{ $.root.Values.monitoring.prometheusUrl | quote }}
        query: {{ first . | replace "%s" $series | quote }}
        threshold: {{ last . | quote }}
    {{- end }}
    {{- end }}
    {{- if .pool }}
    # Workers that are just busy enough have no queue: without this, one would go, and come back.
    - type: cpu
      metricType: Utilization
      metadata:
        value: {{ .settings.targetCPUUtilizationPercentage | quote }}
    {{- end }}
{{- end -}}

{{/*
How many pods: as the values say; or, where an autoscaler scales them, as many as there are. Left out then, an upgrade that turns the autoscaler on would take
the number away that the last one gave, and Kubernetes would make that one pod until the autoscaler acts. Once the number is the autoscaler's, and Helm applies
on the server's side, it is left out, and a rollback does not touch it either. Nothing before the first pod, and where no cluster can be asked. Takes root,
settings, kind and name.
*/}}
{{- define "moiety.replicas" -}}
{{- if eq .settings.autoscaling.kind "none" -}}
replicas: {{ .settings.replicas }}
{{- else -}}
{{- with lookup "apps/v1" .kind .root.Release.Namespace .name -}}
{{- $isOthers := false -}}
{{- range .metadata.managedFields -}}
{{- $spec := dig "fieldsV1" "f:spec" dict . -}}
{{- if and (eq .operation "Apply") (hasKey $spec "f:template") -}}
{{- $isOthers = not (hasKey $spec "f:replicas") -}}
{{- end -}}
{{- end -}}
{{- if not $isOthers -}}
replicas: {{ int .spec.replicas }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
