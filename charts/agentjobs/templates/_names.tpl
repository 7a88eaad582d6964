{{/* Names and labels of objects. */}}

{{/* The begin of all names. Services are named after it, so it is a DNS label that begins with a letter. */}}
{{- define "agentjobs.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" $name) -}}
{{- fail (printf "the release's name %q begins the names of Services, which begin with a letter and have no dots: set fullnameOverride" .Release.Name) -}}
{{- end -}}
{{- $name | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that select pods. They never change. Takes a dict: root, component, and pool for workers. */}}
{{- define "agentjobs.selector" -}}
app.kubernetes.io/name: agentjobs
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
agentjobs.dev/pool: {{ . | quote }}
{{- end }}
{{- end }}

{{/* All labels: those of the selector, and those that may change. Takes the same dict, and more: labels over commonLabels. */}}
{{- define "agentjobs.labels" -}}
{{ include "agentjobs.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with merge dict (.more | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "agentjobs.operatorAccount" -}}
{{- $account := .Values.operator.serviceAccount -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if $account.create -}}
{{- include "agentjobs.fullname" . }}-operator
{{- else -}}
default
{{- end -}}
{{- end }}

{{/* An image's reference, with tag or digest. Takes a dict: root, image. */}}
{{- define "agentjobs.image" -}}
{{- $common := .root.Values.image -}}
{{- $own := .image -}}
{{- $repository := $own.repository | default $common.repository -}}
{{- $digest := $own.digest | default (ternary "" $common.digest (or (not (empty $own.repository)) (not (empty $own.tag)))) -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($own.tag | default (ternary "" $common.tag (not (empty $own.repository))) | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* Lays the map `from` over the map `into`, key by key, in place: unlike mergeOverwrite, false, 0 and "" count too. */}}
{{- define "agentjobs.overlay" -}}
{{- range $key, $value := .from -}}
{{- $below := get $.into $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- include "agentjobs.overlay" (dict "into" $below "from" $value) -}}
{{- else -}}
{{- $_ := set $.into $key $value -}}
{{- end -}}
{{- end -}}
{{- end }}
