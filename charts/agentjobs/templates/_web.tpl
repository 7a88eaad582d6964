{{/* The runs API: `agentjobs web` behind the API server (docs/runs-api-registration.md). */}}

{{/* "true" where this release serves the runs API: it needs cluster-wide rights, which a release that watches a few namespaces does not ask for. */}}
{{- define "agentjobs.webOn" -}}
{{- if and .Values.web.enabled .Values.operator.enabled .Values.rbac.create (not .Values.watchNamespaces) -}}
true
{{- end -}}
{{- end }}

{{/* "true" where it is off and an operator with cluster-wide rights takes away what is left over of it. */}}
{{- define "agentjobs.webOff" -}}
{{- if and (not .Values.web.enabled) .Values.operator.enabled .Values.rbac.create (not .Values.watchNamespaces) -}}
true
{{- end -}}
{{- end }}

{{- define "agentjobs.webName" -}}
{{- include "agentjobs.fullname" . }}-web
{{- end }}

{{- define "agentjobs.webSecret" -}}
{{- .Values.web.certificates.secret | default (printf "%s-tls" (include "agentjobs.webName" .)) -}}
{{- end }}

{{- define "agentjobs.webAccount" -}}
{{- $account := .Values.web.serviceAccount -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if $account.create -}}
{{- include "agentjobs.webName" . }}
{{- else -}}
default
{{- end -}}
{{- end }}

{{/* What operator and hook are told of the runs API. */}}
{{- define "agentjobs.runsApiEnv" -}}
- {name: AGENTJOBS_RUNS_API_SERVICE, value: "{{ .Release.Namespace }}/{{ include "agentjobs.webName" . }}"}
- {name: AGENTJOBS_RUNS_API_SECRET, value: {{ include "agentjobs.webSecret" . | quote }}}
{{- if ne .Values.web.certificates.mode "operator" }}
- {name: AGENTJOBS_RUNS_API_CERTIFICATES, value: "false"}
{{- end }}
{{- end }}
