{{/* What the schema cannot say and the API server would refuse: rules over several values. Each message names field, value and way out. */}}

{{/* Takes a dict: at (the path of the labels), labels. */}}
{{- define "agentjobs.checkLabels" -}}
{{- $ours := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" "agentjobs.dev/pool" -}}
{{- range $key, $value := .labels -}}
{{- if has $key $ours -}}
{{- fail (printf "%s: the chart sets the label %s itself: take it out" $.at $key) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A quantity such as 1500m, 1Gi or 1e9 as a number. */}}
{{- define "agentjobs.quantity" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9.]+([eE][-+]?[0-9]+)?$" $text -}}
{{- printf "%f" (float64 $text) -}}
{{- else -}}
{{- $unit := regexFind "[a-zA-Z]+$" $text -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- printf "%f" (mulf (float64 (trimSuffix $unit $text)) (get $factors $unit)) -}}
{{- end -}}
{{- end }}

{{/* Takes a dict: at (the path of the map), names, most (characters). The schema does not do it: Helm names another path for a key. */}}
{{- define "agentjobs.checkNames" -}}
{{- range .names -}}
{{- if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) (le (len .) (int $.most))) -}}
{{- fail (printf "%s: the name %q: small letters, digits and - are wanted, a letter or digit first and last, %d at most: choose another" $.at . (int $.most)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A pool's memory. Takes a dict: at (the pool's path), of (its values). */}}
{{- define "agentjobs.checkMemory" -}}
{{- $limit := (.of.resources.limits | default dict).memory -}}
{{- if and .of.memoryLimitMib $limit (gt (mulf (float64 .of.memoryLimitMib) 1048576.0) (include "agentjobs.quantity" $limit | float64)) -}}
{{- fail (printf "%s.memoryLimitMib: one job may take %d MiB, and its pod's container %v (%s.resources.limits.memory): the kernel would kill the job before it reaches its limit: lower the one or raise the other" .at (int .of.memoryLimitMib) $limit .at) -}}
{{- end -}}
{{- end }}

{{/* Takes a dict: at (the path of the resources), resources. */}}
{{- define "agentjobs.checkResources" -}}
{{- $limits := .resources.limits | default dict -}}
{{- range $name, $request := .resources.requests -}}
{{- if and (or (contains "/" $name) (hasPrefix "hugepages-" $name)) (ne (toString $request) (toString (get $limits $name))) -}}
{{- fail (printf "%s: %s: the request %v must be its limit: set limits to the same" $.at $name $request) -}}
{{- end -}}
{{- end -}}
{{- range $name, $request := .resources.requests -}}
{{- $limit := get $limits $name -}}
{{- if and (hasKey $limits $name) (gt (include "agentjobs.quantity" $request | float64) (include "agentjobs.quantity" $limit | float64)) -}}
{{- fail (printf "%s: %s: the request %v is more than the limit %v: lower the one or raise the other" $.at $name $request $limit) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A component's variables, volumes and resources. Takes a dict: root, at (the path), of (its values), names (of the chart's own volumes), paths (of their mounts). */}}
{{- define "agentjobs.checkComponent" -}}
{{- range .of.env -}}
{{- if and .value .valueFrom -}}
{{- fail (printf "%s.env: the variable %s has value and valueFrom: keep one" $.at .name) -}}
{{- end -}}
{{- end -}}
{{- $names := .names -}}
{{- range .of.volumes -}}
{{- if has .name $names -}}
{{- fail (printf "%s.volumes: the name %q is taken, by another one or by the chart's own: choose another" $.at .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $paths := .paths -}}
{{- range .of.volumeMounts -}}
{{- if not (has .name $names) -}}
{{- fail (printf "%s.volumeMounts: there is no volume %q: add it to %s.volumes" $.at .name $.at) -}}
{{- end -}}
{{- if has .mountPath $paths -}}
{{- fail (printf "%s.volumeMounts: %s is mounted already, by another one or by the chart: choose another mountPath" $.at .mountPath) -}}
{{- end -}}
{{- $paths = append $paths .mountPath -}}
{{- end -}}
{{- $spreads := list -}}
{{- range .of.topologySpreadConstraints -}}
{{- $spread := printf "%s, %s" .topologyKey .whenUnsatisfiable -}}
{{- if has $spread $spreads -}}
{{- fail (printf "%s.topologySpreadConstraints: there are two of %s: keep one" $.at $spread) -}}
{{- end -}}
{{- $spreads = append $spreads $spread -}}
{{- end -}}
{{- $context := include "agentjobs.containerSecurity" (dict "root" .root "at" .of) | fromYaml -}}
{{- $added := ($context.capabilities | default dict).add | default list -}}
{{- if and (or $context.privileged (has "SYS_ADMIN" $added) (has "CAP_SYS_ADMIN" $added)) (eq (toString $context.allowPrivilegeEscalation) "false") -}}
{{- fail (printf "%s.securityContext: privileged and SYS_ADMIN need allowPrivilegeEscalation: true" .at) -}}
{{- end -}}
{{- include "agentjobs.checkResources" (dict "at" (printf "%s.resources" .at) "resources" .of.resources) -}}
{{- include "agentjobs.checkLabels" (dict "at" (printf "%s.podLabels" .at) "labels" .of.podLabels) -}}
{{- end }}

{{- define "agentjobs.check" -}}
{{- include "agentjobs.fullname" . | trim | substr 0 0 -}}
{{- include "agentjobs.checkLabels" (dict "at" "commonLabels" "labels" .Values.commonLabels) -}}
{{- range $part := list "serviceMonitor" "prometheusRule" "dashboard" -}}
{{- include "agentjobs.checkLabels" (dict "at" (printf "metrics.%s.labels" $part) "labels" (get $.Values.metrics $part).labels) -}}
{{- end -}}
{{- if and .Values.database.ca.secret .Values.database.ca.configMap -}}
{{- fail (printf "database.ca: both secret (%s) and configMap (%s) are set: keep one" .Values.database.ca.secret .Values.database.ca.configMap) -}}
{{- end -}}
{{- $migration := list -}}
{{- if eq (include "agentjobs.migrations" .) "init" -}}
{{- range .Values.migrations.volumes -}}
{{- $migration = append $migration .name -}}
{{- end -}}
{{- end -}}
{{- $paths := list "/tmp" "/run/secrets/agentjobs" "/run/secrets/agentjobs-ca" -}}
{{- $names := list "tmp" "database" "database-ca" "migrate" -}}
{{- include "agentjobs.checkComponent" (dict "root" $ "at" "migrations" "of" .Values.migrations "names" $names "paths" (append $paths "/run/secrets/migrate")) -}}
{{- if .Values.sessionRetention.enabled -}}
{{- include "agentjobs.checkComponent" (dict "root" $ "at" "sessionRetention" "of" .Values.sessionRetention "names" $names "paths" $paths) -}}
{{- end -}}
{{- if .Values.operator.enabled -}}
{{- include "agentjobs.checkComponent" (dict "root" $ "at" "operator" "of" .Values.operator "names" (concat $names $migration) "paths" $paths) -}}
{{- end -}}
{{- if include "agentjobs.webOn" . -}}
{{- $web := .Values.web -}}
{{- include "agentjobs.checkComponent" (dict "root" $ "at" "web" "of" $web "names" (concat $names (list "certificate" "ingress")) "paths" (concat $paths (list "/run/secrets/agentjobs-web" "/run/secrets/agentjobs-ingress"))) -}}
{{- if and $web.ingress.enabled (not $web.ingress.proxy.secret.name) (not $web.ingress.token.secret.name) -}}
{{- fail "web.ingress: nobody could come in: name the Secret of proxy.secret or of token.secret" -}}
{{- end -}}
{{- if and (eq $web.certificates.mode "certManager") (not $web.certificates.issuerRef.name) -}}
{{- fail "web.certificates.issuerRef.name: mode certManager needs the name of an Issuer or ClusterIssuer" -}}
{{- end -}}
{{- if and (eq $web.certificates.mode "secret") (not $web.certificates.secret) -}}
{{- fail "web.certificates.secret: mode secret needs the name of a Secret with tls.crt, tls.key and ca.crt" -}}
{{- end -}}
{{- $least := $web.podDisruptionBudget.minAvailable -}}
{{- if and $web.podDisruptionBudget.enabled (not (kindIs "string" $least)) (gt (int $web.replicas) 0) (ge (int $least) (int $web.replicas)) -}}
{{- fail (printf "web.podDisruptionBudget.minAvailable %d of %d replicas would let no node be drained: raise web.replicas, or set web.podDisruptionBudget.enabled=false" (int $least) (int $web.replicas)) -}}
{{- end -}}
{{- end -}}
{{- include "agentjobs.checkNames" (dict "at" "queues" "names" (keys .Values.queues | sortAlpha) "most" 63) -}}
{{- include "agentjobs.checkNames" (dict "at" "pools" "names" (keys .Values.pools | sortAlpha) "most" 16) -}}
{{- $served := list -}}
{{- range $name, $pool := include "agentjobs.pools" . | fromYaml -}}
{{- $at := printf "pools.%s" $name -}}
{{- $served = concat $served (keys $pool.queues) -}}
{{- include "agentjobs.checkNames" (dict "at" (printf "%s.queues" $at) "names" (keys $pool.queues | sortAlpha) "most" 63) -}}
{{- include "agentjobs.checkMemory" (dict "at" $at "of" $pool) -}}
{{- include "agentjobs.checkComponent" (dict "root" $ "at" $at "of" $pool "names" (concat $names $migration) "paths" $paths) -}}
{{- $scale := $pool.autoscaling -}}
{{- if and (eq $scale.type "hpa") (lt (int $scale.minReplicas) 1) -}}
{{- fail (printf "%s.autoscaling.minReplicas: 0 is for the type keda: an hpa needs a pod at least" $at) -}}
{{- end -}}
{{- if and (ne $scale.type "none") (gt (int $scale.minReplicas) (int $scale.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling: minReplicas %d is more than maxReplicas %d: lower the one or raise the other" $at (int $scale.minReplicas) (int $scale.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.tests -}}
{{- if and .enabled .queue $served (not (has .queue $served)) -}}
{{- fail (printf "tests.queue: no pool of this release serves %q: name one of %s, or set tests.enabled=false" .queue (sortAlpha $served | uniq | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "workerEgress" "operatorEgress" "tracesEgress" "migrationsEgress" -}}
{{- range get $.Values.networkPolicy $key -}}
{{- range .ports -}}
{{- if and .endPort (or (kindIs "string" .port) (lt (int .endPort) (int .port))) -}}
{{- fail (printf "networkPolicy.%s: endPort %d must not be less than port %v, which must be a number" $key (int .endPort) .port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.devPostgres.enabled (eq .Values.database.keys.url "password") -}}
{{- fail "database.keys.url: password is the key of devPostgres' password: choose another" -}}
{{- end -}}
{{- include "agentjobs.checkResources" (dict "at" "devPostgres.resources" "resources" .Values.devPostgres.resources) -}}
{{- end }}
