{{- define "postern.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "postern.fullname" -}}
{{- $name := include "postern.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "postern.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "postern.labels" -}}
{{ include "postern.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "postern.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "postern.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "postern.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What values cannot be together. Every manifest that carries settings asks. */}}
{{- define "postern.check" -}}
{{- $v := .Values -}}
{{- $redis := $v.store.redis -}}
{{- $alone := eq $v.mode "standalone" -}}
{{- if eq $v.store.type "redis" -}}
{{- if and $redis.url $redis.urlSecret.name -}}
{{- fail "store.redis: both url and urlSecret.name are set: keep one" -}}
{{- end -}}
{{- if not (or $redis.url $redis.urlSecret.name) -}}
{{- fail "store.redis: neither url nor urlSecret.name is set: name the Redis that all instances share, or set store.type=embedded for one instance alone" -}}
{{- end -}}
{{- if or (regexMatch "://[^@]*:[^@]+@" $redis.url) (contains "password=" $redis.url) -}}
{{- fail "store.redis.url: holds a password, and would stand in a ConfigMap: put it into a Secret, and set passwordSecret.name or urlSecret.name" -}}
{{- end -}}
{{- if and $redis.passwordSecret.name (not $redis.url) -}}
{{- fail "store.redis.passwordSecret: the address of urlSecret has its own password: set url, or leave passwordSecret.name empty" -}}
{{- end -}}
{{- if and $redis.tls.secret $redis.url (not (hasPrefix "rediss" $redis.url)) -}}
{{- fail "store.redis.tls: url is not rediss://, and would not use it: change one of them" -}}
{{- end -}}
{{- if ne (empty $redis.tls.cert) (empty $redis.tls.key) -}}
{{- fail "store.redis.tls: has one of cert and key: give both, or neither" -}}
{{- end -}}
{{- else if $alone -}}
{{- if $v.autoscaling.enabled -}}
{{- fail "store.type=embedded: facts belong to one instance, and autoscaling.enabled makes more: set store.type=redis" -}}
{{- end -}}
{{- if gt (int $v.replicas) 1 -}}
{{- fail (printf "store.type=embedded: facts belong to one instance, and replicas is %d: set store.type=redis for shared facts, or replicas=1" (int $v.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if $alone -}}
{{- if and (not $v.grpc.tls.secret) (not $v.grpc.plaintext) -}}
{{- fail "grpc.tls.secret: is empty: name a Secret of type kubernetes.io/tls, or set grpc.plaintext=true where the network is trusted" -}}
{{- end -}}
{{- if and $v.grpc.tls.secret $v.grpc.plaintext -}}
{{- fail "grpc: both tls.secret and plaintext are set: keep one" -}}
{{- end -}}
{{- if and $v.grpc.plaintext $v.admin.enabled -}}
{{- fail "admin.enabled: its tokens would cross the network in the clear: set grpc.tls.secret" -}}
{{- end -}}
{{- if and $v.grpc.plaintext (dig "grpc" "callers" list $v.settings) -}}
{{- fail "settings.grpc.callers: their tokens would cross the network in the clear: set grpc.tls.secret" -}}
{{- end -}}
{{- if lt (int $v.settings.shutdown.lame_duck_ms) 1 -}}
{{- fail "settings.shutdown.lame_duck_ms: is 0: callers would still be sent to pods that end: give 1000 or more" -}}
{{- end -}}
{{- if and $v.podMonitor.enabled $v.serviceMonitor.enabled -}}
{{- fail "podMonitor and serviceMonitor: both are enabled, and would count everything twice: keep one" -}}
{{- end -}}
{{- else if $v.serviceMonitor.enabled -}}
{{- fail "serviceMonitor.enabled: a sidecar has no Service: set podMonitor.enabled" -}}
{{- end -}}
{{- if and $v.admin.tokenSecret.name (not $v.admin.enabled) -}}
{{- fail "admin.tokenSecret.name: AdminService is off: set admin.enabled=true, or leave it empty" -}}
{{- end -}}
{{- end -}}

{{- define "postern.grpcAddress" -}}
{{- if eq .Values.mode "standalone" -}}
{{- printf "%s:%d" .Values.listen (int .Values.grpc.port) -}}
{{- else if .Values.grpc.unixSocket -}}
unix:/run/postern/grpc.sock
{{- else -}}
{{- printf "127.0.0.1:%d" (int .Values.grpc.port) -}}
{{- end -}}
{{- end -}}

{{/* postern.yaml: what values say in their own words, and `settings`. */}}
{{- define "postern.settings" -}}
{{- $v := .Values -}}
{{- $s := deepCopy $v.settings -}}
{{- $_ := set $s "catalog" (ternary "actions.yaml" "/opt/postern/config/actions.yaml" (not (empty $v.files.actions))) -}}
{{- $_ := set $s "default_roles" (ternary "roles.yaml" "/opt/postern/config/roles.yaml" (not (empty $v.files.roles))) -}}
{{- $_ := set $s "migrations" "migrations" -}}
{{- if $v.files.routes -}}
{{- $_ := set $s "routes" "routes.yaml" -}}
{{- end -}}
{{- $redis := default dict $s.redis -}}
{{- if eq $v.store.type "embedded" -}}
{{- $_ := set $s "store" "embedded:/var/lib/postern/store" -}}
{{- else -}}
{{- with $v.store.redis.url -}}
{{- $_ := set $s "store" . -}}
{{- end -}}
{{- if $v.store.redis.passwordSecret.name -}}
{{- $_ := set $redis "password_file" "/etc/postern-redis/password" -}}
{{- end -}}
{{- with $v.store.redis.tls -}}
{{- if .secret -}}
{{- $tls := dict "ca" "/etc/postern-redis-tls/ca.crt" -}}
{{- if .cert -}}
{{- $_ := set $tls "cert" "/etc/postern-redis-tls/tls.crt" -}}
{{- $_ := set $tls "key" "/etc/postern-redis-tls/tls.key" -}}
{{- end -}}
{{- with .serverName -}}
{{- $_ := set $tls "server_name" . -}}
{{- end -}}
{{- $_ := set $redis "tls" $tls -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $redis -}}
{{- $_ := set $s "redis" $redis -}}
{{- end -}}
{{- $grpc := default dict $s.grpc -}}
{{- $_ := set $grpc "address" (include "postern.grpcAddress" .) -}}
{{- if and (eq $v.mode "standalone") $v.grpc.tls.secret -}}
{{- $tls := default dict $grpc.tls -}}
{{- $_ := set $tls "cert" "/etc/postern-tls/tls.crt" -}}
{{- $_ := set $tls "key" "/etc/postern-tls/tls.key" -}}
{{- if $v.grpc.tls.clientCa -}}
{{- $_ := set $tls "client_ca" "/etc/postern-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $grpc "tls" $tls -}}
{{- end -}}
{{- $_ := set $s "grpc" $grpc -}}
{{- $_ := set $s "http" (dict "address" (printf "%s:%d" $v.listen (int $v.http.port))) -}}
{{- if $v.admin.enabled -}}
{{- $admin := default dict $s.admin -}}
{{- $_ := set $admin "enabled" true -}}
{{- if $v.admin.tokenSecret.name -}}
{{- $_ := set $admin "token_file" "/etc/postern-admin/token" -}}
{{- end -}}
{{- $_ := set $s "admin" $admin -}}
{{- end -}}
{{- toYaml $s -}}
{{- end -}}

{{/* The data of the ConfigMap. Keys hold no slash: the volume puts the files where they belong. */}}
{{- define "postern.files" -}}
{{- include "postern.check" . -}}
postern.yaml: |
  {{- include "postern.settings" . | nindent 2 }}
{{- range $file := list "actions" "roles" "routes" }}
{{- with get $.Values.files $file }}
{{ $file }}.yaml: |
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- range $directory := list "migrations" "states" }}
{{- range $name, $text := get $.Values.files $directory }}
{{ $directory }}.{{ $name }}: |
  {{- $text | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* For an annotation of the pod, so that it is replaced when a file changes. */}}
{{- define "postern.checksum" -}}
{{- include "postern.files" . | sha256sum -}}
{{- end -}}

{{/* Seconds: until nobody is sent here, until calls in flight are done, and some to spare. */}}
{{- define "postern.gracePeriod" -}}
{{- $s := .Values.settings.shutdown -}}
{{- add (divf (add (int $s.lame_duck_ms) (int $s.grace_ms)) 1000 | ceil | int) 10 -}}
{{- end -}}

{{/* The container, stand-alone and as a sidecar. */}}
{{- define "postern.container" -}}
{{- $v := .Values -}}
name: postern
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args:
  - serve
  {{- range $name, $_ := $v.files.states }}
  - --state=/etc/postern/states/{{ $name }}
  {{- end }}
{{- $url := and (eq $v.store.type "redis") (not $v.store.redis.url) }}
{{- if or $url $v.env }}
env:
  {{- if $url }}
  - name: POSTERN_STORE
    valueFrom:
      secretKeyRef: { name: {{ $v.store.redis.urlSecret.name | quote }}, key: {{ $v.store.redis.urlSecret.key | quote }} }
  {{- end }}
  {{- with $v.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  {{- if eq $v.mode "standalone" }}
  - { name: grpc, containerPort: {{ int $v.grpc.port }}, protocol: TCP }
  {{- end }}
  - { name: {{ include "postern.httpPortName" . }}, containerPort: {{ int $v.http.port }}, protocol: TCP }
startupProbe:
  httpGet: { path: /readyz, port: {{ include "postern.httpPortName" . }} }
  {{- toYaml $v.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: { path: /readyz, port: {{ include "postern.httpPortName" . }} }
  {{- toYaml $v.probes.readiness | nindent 2 }}
livenessProbe:
  httpGet: { path: /healthz, port: {{ include "postern.httpPortName" . }} }
  {{- toYaml $v.probes.liveness | nindent 2 }}
securityContext:
  {{- include "postern.securityContext" . | nindent 2 }}
resources:
  {{- toYaml $v.resources | nindent 2 }}
volumeMounts:
  - { name: {{ include "postern.volume" (list . "config") }}, mountPath: /etc/postern, readOnly: true }
  - { name: {{ include "postern.volume" (list . "data") }}, mountPath: /var/lib/postern }
  - { name: {{ include "postern.volume" (list . "run") }}, mountPath: /run/postern }
  {{- range $name := include "postern.secretNames" . | splitList " " | compact }}
  - { name: {{ include "postern.volume" (list $ $name) }}, mountPath: /etc/postern-{{ $name }}, readOnly: true }
  {{- end }}
  {{- with $v.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Ports of a pod have one name each: a sidecar keeps out of the way of the pod's own `http`. */}}
{{- define "postern.httpPortName" -}}
{{- ternary "http" "postern-http" (eq .Values.mode "standalone") -}}
{{- end -}}

{{/* The same for volumes. */}}
{{- define "postern.volume" -}}
{{- $root := first . -}}
{{- ternary (last .) (printf "postern-%s" (last .)) (eq $root.Values.mode "standalone") -}}
{{- end -}}

{{- define "postern.securityContext" -}}
runAsNonRoot: true
{{- with .Values.user.runAsUser }}
runAsUser: {{ int . }}
{{- end }}
{{- with .Values.user.runAsGroup }}
runAsGroup: {{ int . }}
{{- end }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* Which Secrets are mounted as files. */}}
{{- define "postern.secretNames" -}}
{{- $names := list -}}
{{- if and (eq .Values.mode "standalone") .Values.grpc.tls.secret -}}
{{- $names = append $names "tls" -}}
{{- end -}}
{{- if and .Values.admin.enabled .Values.admin.tokenSecret.name -}}
{{- $names = append $names "admin" -}}
{{- end -}}
{{- if eq .Values.store.type "redis" -}}
{{- if .Values.store.redis.passwordSecret.name -}}
{{- $names = append $names "redis" -}}
{{- end -}}
{{- if .Values.store.redis.tls.secret -}}
{{- $names = append $names "redis-tls" -}}
{{- end -}}
{{- end -}}
{{- join " " $names -}}
{{- end -}}

{{- define "postern.volumes" -}}
{{- $v := .Values -}}
{{- /* The group of the pod reads Secrets; a sidecar has no say in the pod's group. */ -}}
{{- $mode := ternary 288 292 (and (eq $v.mode "standalone") (not (empty $v.user.fsGroup))) -}}
- name: {{ include "postern.volume" (list . "config") }}
  configMap:
    name: {{ include "postern.fullname" . }}
    items:
      - { key: postern.yaml, path: postern.yaml }
      {{- range $file := list "actions" "roles" "routes" }}
      {{- if get $v.files $file }}
      - { key: {{ $file }}.yaml, path: {{ $file }}.yaml }
      {{- end }}
      {{- end }}
      {{- range $directory := list "migrations" "states" }}
      {{- range $name, $_ := get $v.files $directory }}
      - { key: {{ $directory }}.{{ $name }}, path: {{ $directory }}/{{ $name }} }
      {{- end }}
      {{- end }}
- name: {{ include "postern.volume" (list . "data") }}
  {{- $claim := $v.store.embedded.persistence }}
  {{- if and (eq $v.mode "standalone") (eq $v.store.type "embedded") $claim.enabled }}
  persistentVolumeClaim: { claimName: {{ default (include "postern.fullname" .) $claim.existingClaim }} }
  {{- else }}
  emptyDir: { sizeLimit: 1Gi }
  {{- end }}
- name: {{ include "postern.volume" (list . "run") }}
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- range $name := include "postern.secretNames" . | splitList " " | compact }}
- name: {{ include "postern.volume" (list $ $name) }}
  secret:
    defaultMode: {{ $mode }}
    {{- if eq $name "tls" }}
    secretName: {{ $v.grpc.tls.secret | quote }}
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
      {{- if $v.grpc.tls.clientCa }}
      - { key: ca.crt, path: ca.crt }
      {{- end }}
    {{- else if eq $name "admin" }}
    secretName: {{ $v.admin.tokenSecret.name | quote }}
    items: [{ key: {{ $v.admin.tokenSecret.key | quote }}, path: token }]
    {{- else if eq $name "redis" }}
    secretName: {{ $v.store.redis.passwordSecret.name | quote }}
    items: [{ key: {{ $v.store.redis.passwordSecret.key | quote }}, path: password }]
    {{- else }}
    secretName: {{ $v.store.redis.tls.secret | quote }}
    items:
      - { key: {{ $v.store.redis.tls.ca | quote }}, path: ca.crt }
      {{- if $v.store.redis.tls.cert }}
      - { key: {{ $v.store.redis.tls.cert | quote }}, path: tls.crt }
      - { key: {{ $v.store.redis.tls.key | quote }}, path: tls.key }
      {{- end }}
    {{- end }}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
