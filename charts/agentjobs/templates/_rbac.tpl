{{/* RBAC rules of the operator in the namespaces that it watches. docs/operator.md tells what each is for. */}}

{{- define "agentjobs.operatorRbacRules" -}}
- apiGroups: [agentjobs.dev]
  resources: [agentjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [agentjobs.dev]
  resources: [scheduledagentjobs]
  verbs: [get, list, watch, patch]
- apiGroups: [agentjobs.dev]
  resources: [agentjobs/status, scheduledagentjobs/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if .Values.operator.inputs.configMaps }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end }}
{{- if .Values.operator.inputs.secrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- end }}
