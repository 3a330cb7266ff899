/** The sink `http`: a collector. */
import * as z from 'zod';
import { common, remote, sinkKind } from './sink-kind.ts';

export const httpSink = sinkKind({
  schema: z.strictObject({
    type: z.literal('http'),
    url: z
      .string()
      .regex(
        /^https?:\/\/[^\s/@]+(\/\S*)?$/,
        'is not a URL without user and password, such as https://collector/audit',
      )
      .meta({ description: 'Takes a POST a batch, a JSON object a line' }),
    authorization_file: z
      .string()
      .optional()
      .meta({ description: 'File with the value of the header `authorization`' }),
    ...common,
    ...remote,
  }),
  files: ['spool_file', 'authorization_file'],
  owns: 'spool_file',
  async open({ url, authorization_file: file, timeout_ms: timeoutMs }, { writer, onError }) {
    const { authorizationOf, openHttp } = await import('../http.ts');
    if (file !== undefined) authorizationOf(file);
    const onCut = (problem: string): void => onError(new Error(problem));
    return openHttp({ url, authorizationFile: file, timeoutMs, writer, onCut });
  },
});
