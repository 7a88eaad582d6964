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

{{/* SQL for KEDA: jobs of the pool's queues that are ready or run. State r: ready; q: ready, in quarantine. */}}
{{- define "agentjobs.depthQuery" -}}
{{- $names := keys .queues | sortAlpha -}}
{{- $queues := printf "'%s'" (join "', '" $names) -}}
select (select count(*) from agentjobs.waiting where state in ('r', 'q') and queue in ({{ $queues }})) + (select count(*) from agentjobs.running where queue in ({{ $queues }}))
{{- end }}

{{- define "agentjobs.depthPromQL" -}}
{{- $names := keys .queues | sortAlpha | join "|" -}}
max(sum by (pod) (agentjobs_queue_depth{queue=~"{{ $names }}",state="Queued"} or agentjobs_queue_running{queue=~"{{ $names }}"}))
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
