{{/*
For the pod template of a chart that depends on this one, with `mode: sidecar`. Each takes the context of the dependency,
`.Subcharts.postern` (or the alias that the dependency has):

  metadata:
    annotations:
      checksum/postern: {{ include "postern.checksum" .Subcharts.postern }}
  spec:
    initContainers:
      {{- include "postern.sidecar" .Subcharts.postern | nindent 6 }}
    containers:
      - name: app
        env:
          {{- include "postern.sidecar.env" .Subcharts.postern | nindent 10 }}
        volumeMounts:
          {{- include "postern.sidecar.volumeMounts" .Subcharts.postern | nindent 10 }}
    volumes:
      {{- include "postern.sidecar.volumes" .Subcharts.postern | nindent 6 }}
*/}}

{{/* An init container that stays: the containers start when it is ready, and it ends after them. */}}
{{- define "postern.sidecar" -}}
{{- if ne .Values.mode "sidecar" -}}
{{- fail (printf "postern.sidecar: mode is %s, and would make a Deployment besides: set mode=sidecar for the dependency" .Values.mode) -}}
{{- end -}}
{{- include "postern.check" . -}}
- restartPolicy: Always
  {{- include "postern.container" . | nindent 2 }}
{{- end -}}

{{- define "postern.sidecar.volumes" -}}
{{- include "postern.volumes" . -}}
{{- end -}}

{{/* The socket, for the container that asks. */}}
{{- define "postern.sidecar.volumeMounts" -}}
- { name: {{ include "postern.volume" (list . "run") }}, mountPath: /run/postern }
{{- end -}}

{{/* Where to ask. */}}
{{- define "postern.sidecar.env" -}}
- { name: POSTERN_ADDRESS, value: {{ include "postern.grpcAddress" . | quote }} }
{{- end -}}
