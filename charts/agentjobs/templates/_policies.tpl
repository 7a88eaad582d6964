{{/* Pieces of the network policies. */}}

{{- define "agentjobs.metricsIngress" -}}
- ports: [{port: http, protocol: TCP}]
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Names and the database. Where the database is, only its port says. */}}
{{- define "agentjobs.baseEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    - {port: {{ int .Values.database.port }}, protocol: TCP}
{{- end }}
