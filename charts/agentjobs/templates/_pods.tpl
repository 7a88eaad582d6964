{{/* The parts that all pods share: pod security `restricted`, a read-only root, a /tmp of their own. */}}

{{/* The security context of a pod. Takes a dict: root, at (the component's values; absent: none of its own). */}}
{{- define "agentjobs.podSecurity" -}}
{{- $context := deepCopy (.root.Values.podSecurityContext | default dict) -}}
{{- include "agentjobs.overlay" (dict "into" $context "from" ((.at | default dict).podSecurityContext | default dict)) -}}
{{- toYaml $context -}}
{{- end }}

{{- define "agentjobs.containerSecurity" -}}
{{- $context := deepCopy (.root.Values.securityContext | default dict) -}}
{{- include "agentjobs.overlay" (dict "into" $context "from" ((.at | default dict).securityContext | default dict)) -}}
{{- toYaml $context -}}
{{- end }}

{{/* The volume of /tmp. Takes its size limit. */}}
{{- define "agentjobs.tmpVolume" -}}
name: tmp
emptyDir: {sizeLimit: {{ . | quote }}}
{{- end }}

{{/* Scheduling of a component's pods. Takes a dict: root, component, pool, at (the values). */}}
{{- define "agentjobs.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .at.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if .at.topologySpreadConstraints }}
  {{- toYaml .at.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "agentjobs.selector" . | nindent 8 }}
  {{- end }}
{{- end }}

{{- define "agentjobs.ports" -}}
- {name: http, containerPort: 8080, protocol: TCP}
{{- end }}

{{/* Probes. A start may take two minutes: the database comes up, the template imports ADK. */}}
{{- define "agentjobs.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}
