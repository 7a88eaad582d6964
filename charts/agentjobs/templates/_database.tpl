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

{{/* The volume with a part's URLs as files. Takes a dict: root; url, direct, sessions: keys of the Secret, the last two may be empty. */}}
{{- define "agentjobs.databaseVolume" -}}
name: database
secret:
  secretName: {{ include "agentjobs.databaseSecret" .root | quote }}
  defaultMode: 0440
  items:
    - {key: {{ .url | quote }}, path: url}
    {{- with .direct }}
    - {key: {{ . | quote }}, path: direct-url}
    {{- end }}
    {{- with .sessions }}
    - {key: {{ . | quote }}, path: session-url}
    {{- end }}
{{- end }}

{{- define "agentjobs.databaseMount" -}}
name: database
mountPath: /run/secrets/agentjobs
readOnly: true
{{- end }}

{{/* The volume with the CA of Postgres' certificate, its mount, and the variable by which libpq finds it. Empty: there is none. */}}
{{- define "agentjobs.caVolume" -}}
{{- $ca := .Values.database.ca -}}
{{- if $ca.secret }}
- name: database-ca
  secret:
    secretName: {{ $ca.secret | quote }}
    items: [{key: {{ $ca.key | quote }}, path: ca.crt}]
{{- else if $ca.configMap }}
- name: database-ca
  configMap:
    name: {{ $ca.configMap | quote }}
    items: [{key: {{ $ca.key | quote }}, path: ca.crt}]
{{- end }}
{{- end }}

{{- define "agentjobs.caMount" -}}
{{- if or .Values.database.ca.secret .Values.database.ca.configMap }}
- {name: database-ca, mountPath: /run/secrets/agentjobs-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "agentjobs.caEnv" -}}
{{- if or .Values.database.ca.secret .Values.database.ca.configMap }}
- {name: PGSSLROOTCERT, value: /run/secrets/agentjobs-ca/ca.crt}
{{- end }}
{{- end }}

{{/* Where a part finds its URLs. Takes the dict of agentjobs.databaseVolume. */}}
{{- define "agentjobs.databaseEnv" -}}
- {name: AGENTJOBS_DATABASE_URL_FILE, value: /run/secrets/agentjobs/url}
{{- if .direct }}
- {name: AGENTJOBS_DATABASE_DIRECT_URL_FILE, value: /run/secrets/agentjobs/direct-url}
{{- end }}
{{- if .sessions }}
- {name: AGENTJOBS_SESSION_DATABASE_URL_FILE, value: /run/secrets/agentjobs/session-url}
{{- end }}
{{- include "agentjobs.caEnv" .root }}
{{- end }}

{{/* The volume with the URL for migrations: the one without a pooler, which would not keep their lock. */}}
{{- define "agentjobs.migrateVolume" -}}
{{- $keys := .Values.database.keys -}}
name: migrate
secret:
  secretName: {{ include "agentjobs.databaseSecret" . | quote }}
  defaultMode: 0440
  items:
    - {key: {{ $keys.migrateUrl | default $keys.directUrl | default (include "agentjobs.urlKey" .) | quote }}, path: url}
{{- end }}

{{/* The volumes of the migration besides /tmp, for the Job, and for pods with the init container. */}}
{{- define "agentjobs.migrateVolumes" -}}
- {{- include "agentjobs.migrateVolume" . | nindent 2 }}
{{- with .Values.migrations.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes a dict: root, waitSeconds (for a database that does not answer yet). */}}
{{- define "agentjobs.migrateContainer" -}}
{{- $wait := .waitSeconds -}}
{{- with .root -}}
name: migrate
image: {{ include "agentjobs.image" (dict "root" . "image" dict) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [migrate, up, --accept-newer, --wait-seconds={{ $wait }}{{ with .Values.migrations.grantTo }}, --grant-to={{ . }}{{ end }}]
env:
  - {name: AGENTJOBS_DATABASE_URL_FILE, value: /run/secrets/migrate/url}
  {{- include "agentjobs.caEnv" . | nindent 2 }}
  {{- with .Values.migrations.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.migrations.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "agentjobs.containerSecurity" (dict "root" . "at" .Values.migrations) | nindent 2 }}
resources:
  {{- toYaml .Values.migrations.resources | nindent 2 }}
volumeMounts:
  - {name: migrate, mountPath: /run/secrets/migrate, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- include "agentjobs.caMount" . | nindent 2 }}
  {{- with .Values.migrations.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
