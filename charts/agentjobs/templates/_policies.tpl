{{/* Rules that the network policies share. */}}

{{- define "agentjobs.metricsIngress" -}}
- ports: [{port: http, protocol: TCP}]
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Egress to DNS and to the database. The latter is known by its port alone, so any address may be it. */}}
{{- define "agentjobs.baseEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range prepend .Values.networkPolicy.databasePorts .Values.database.port | uniq }}
    - {port: {{ int . }}, protocol: TCP}
    {{- end }}
{{- end }}
