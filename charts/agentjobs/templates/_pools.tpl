{{/* The enabled pools as a YAML map from name to values. Each is laid over poolDefaults. */}}
{{- define "agentjobs.pools" -}}
{{- range $name, $given := .Values.pools }}
{{- $pool := deepCopy $.Values.poolDefaults }}
{{- include "agentjobs.overlay" (dict "into" $pool "from" ($given | default dict)) }}
{{- if $pool.enabled }}
{{- if not $pool.queues }}
{{- fail (printf "pools.%s.queues is empty: name at least one queue, {agents: {slotsPerPod: 10}}" $name) }}
{{- end }}
{{ $name | quote }}:
  {{- toYaml $pool | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* A pool's slots as the setting `queues`: agents=10,scheduled=5 */}}
{{- define "agentjobs.slots" -}}
{{- $slots := list -}}
{{- range $queue, $of := .queues -}}
{{- $slots = append $slots (printf "%s=%d" $queue (int $of.slotsPerPod)) -}}
{{- end -}}
{{- join "," $slots -}}
{{- end }}

{{- define "agentjobs.slotsPerPod" -}}
{{- $sum := 0 -}}
{{- range .queues -}}
{{- $sum = add $sum (int .slotsPerPod) -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* The service account of a pool. Takes a dict: root, name, pool. */}}
{{- define "agentjobs.poolAccount" -}}
{{- $account := .pool.serviceAccount -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if $account.create -}}
{{- include "agentjobs.fullname" .root }}-worker-{{ .name }}
{{- else -}}
default
{{- end -}}
{{- end }}

{{/* The queue of `helm test`: the one that is named; else agents, or the first that a pool of this release serves. */}}
{{- define "agentjobs.testQueue" -}}
{{- $served := list -}}
{{- range include "agentjobs.pools" . | fromYaml -}}
{{- $served = concat $served (keys .queues) -}}
{{- end -}}
{{- $first := first (sortAlpha $served) | default "agents" -}}
{{- .Values.tests.queue | default (ternary "agents" $first (or (has "agents" $served) (empty $served))) -}}
{{- end }}

{{- define "agentjobs.podCount" -}}
{{- printf "%d %s" (int .) (ternary "pod" "pods" (eq (int .) 1)) -}}
{{- end }}
