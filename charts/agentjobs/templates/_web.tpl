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

{{/* Who may come in at the ingress' port. Takes web.ingress. */}}
{{- define "agentjobs.webIngressEnv" -}}
- {name: AGENTJOBS_WEB_INGRESS_PORT, value: "8081"}
{{- if .token.secret.name }}
- {name: AGENTJOBS_WEB_INGRESS_TOKEN_FILE, value: /run/secrets/agentjobs-ingress/token}
{{- end }}
{{- with .proxy }}
{{- if .secret.name }}
- {name: AGENTJOBS_WEB_INGRESS_PROXY_SECRET_FILE, value: /run/secrets/agentjobs-ingress/proxy-secret}
- {name: AGENTJOBS_WEB_INGRESS_USER_HEADER, value: {{ .userHeader | quote }}}
{{- with .groupsHeader }}
- {name: AGENTJOBS_WEB_INGRESS_GROUPS_HEADER, value: {{ . | quote }}}
{{- end }}
{{- with .userPrefix }}
- {name: AGENTJOBS_WEB_INGRESS_USER_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- with .groupsPrefix }}
- {name: AGENTJOBS_WEB_INGRESS_GROUPS_PREFIX, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What operator and hook are told of the runs API. */}}
{{- define "agentjobs.runsApiEnv" -}}
- {name: AGENTJOBS_RUNS_API_SERVICE, value: "{{ .Release.Namespace }}/{{ include "agentjobs.webName" . }}"}
- {name: AGENTJOBS_RUNS_API_SECRET, value: {{ include "agentjobs.webSecret" . | quote }}}
{{- if ne .Values.web.certificates.mode "operator" }}
- {name: AGENTJOBS_RUNS_API_CERTIFICATES, value: "false"}
{{- end }}
{{- end }}
