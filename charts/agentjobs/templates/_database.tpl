{{/* The Secret with the database's URLs, their files in pods, and the mode of migrations. */}}

{{- define "agentjobs.databaseSecret" -}}
{{- $given := .Values.database.existingSecret -}}
{{- if and .Values.devPostgres.enabled .Values.cloudnativepg.enabled -}}
{{- fail "devPostgres.enabled and cloudnativepg.enabled: choose one database" -}}
{{- end -}}
{{- if and $given (or .Values.devPostgres.enabled .Values.cloudnativepg.enabled) -}}
{{- fail "database.existingSecret names a database, and devPostgres or cloudnativepg makes one: choose one" -}}
{{- end -}}
{{- if $given -}}
{{- $given -}}
{{- else if .Values.devPostgres.enabled -}}
{{- include "agentjobs.fullname" . }}-dev-postgres
{{- else if .Values.cloudnativepg.enabled -}}
{{- include "agentjobs.fullname" . }}-db-app
{{- else -}}
{{- fail "no database: set database.existingSecret to a Secret with the key `url` (postgresql://user:password@host:5432/database), or devPostgres.enabled=true to try things out" -}}
{{- end -}}
{{- end }}

{{/* The Secret's key with the URL. CloudNativePG always names it `uri`. */}}
{{- define "agentjobs.urlKey" -}}
{{- ternary "uri" .Values.database.keys.url .Values.cloudnativepg.enabled -}}
{{- end }}

{{- define "agentjobs.migrations" -}}
{{- $mode := .Values.migrations.mode -}}
{{- $ours := or .Values.devPostgres.enabled .Values.cloudnativepg.enabled -}}
{{- if and (eq $mode "hook") $ours -}}
{{- fail "migrations.mode=hook: the hook runs before the database that this release makes; use init" -}}
{{- end -}}
{{- if ne $mode "auto" -}}
{{- $mode -}}
{{- else if not .Values.operator.enabled -}}
off
{{- else -}}
{{- ternary "init" "hook" $ours -}}
{{- end -}}
{{- end }}

{{/* The volume with the URLs as files, for the operator and the pools. Takes a dict: root. */}}
{{- define "agentjobs.databaseVolume" -}}
{{- $keys := .root.Values.database.keys -}}
name: database
secret:
  secretName: {{ include "agentjobs.databaseSecret" .root }}
  defaultMode: 0444
  items:
    - {key: {{ include "agentjobs.urlKey" .root }}, path: url}
    {{- with $keys.directUrl }}
    - {key: {{ . }}, path: direct-url}
    {{- end }}
    {{- with $keys.sessionUrl }}
    - {key: {{ . }}, path: session-url}
    {{- end }}
{{- end }}

{{- define "agentjobs.databaseMount" -}}
name: database
mountPath: /run/secrets/agentjobs
readOnly: true
{{- end }}

{{- define "agentjobs.databaseEnv" -}}
{{- $keys := .Values.database.keys -}}
- {name: AGENTJOBS_DATABASE_URL_FILE, value: /run/secrets/agentjobs/url}
{{- if $keys.directUrl }}
- {name: AGENTJOBS_DATABASE_DIRECT_URL_FILE, value: /run/secrets/agentjobs/direct-url}
{{- end }}
{{- if $keys.sessionUrl }}
- {name: AGENTJOBS_SESSION_DATABASE_URL_FILE, value: /run/secrets/agentjobs/session-url}
{{- end }}
{{- end }}

{{/* The volume with the URL for migrations: the one without a pooler, which would not keep their lock. */}}
{{- define "agentjobs.migrateVolume" -}}
{{- $keys := .Values.database.keys -}}
name: migrate
secret:
  secretName: {{ include "agentjobs.databaseSecret" . }}
  defaultMode: 0444
  items:
    - {key: {{ $keys.migrateUrl | default $keys.directUrl | default (include "agentjobs.urlKey" .) }}, path: url}
{{- end }}

{{- define "agentjobs.migrateContainer" -}}
name: migrate
image: {{ include "agentjobs.image" (dict "root" . "image" dict) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [migrate, up, --accept-newer, --wait-seconds=120{{ with .Values.migrations.grantTo }}, --grant-to={{ . }}{{ end }}]
env:
  - {name: AGENTJOBS_DATABASE_URL_FILE, value: /run/secrets/migrate/url}
securityContext:
  {{- include "agentjobs.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .Values.migrations.resources | nindent 2 }}
volumeMounts:
  - {name: migrate, mountPath: /run/secrets/migrate, readOnly: true}
  - {name: tmp, mountPath: /tmp}
{{- end }}
