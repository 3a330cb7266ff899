/** Writes records by the file sink of servers: `FILE COUNT ROTATE_BYTES`. Says `done` at the end. */
import { openFile } from '../../src/audit/sinks/file.ts';
import { openRecorder } from './audit-records.ts';

const [file = '', count = '', rotateBytes = ''] = process.argv.slice(2);
const sink = openFile({
  path: file,
  durable: false,
  rotateBytes: Number(rotateBytes),
  rotateMs: 0,
  keepFiles: 0,
  keepMs: 0,
  keepBytes: 0,
  onError: (error) => {
    throw error;
  },
});
const recorder = openRecorder();
const BATCH = 20;
for (let id = 0; id < Number(count) / BATCH; id++)
  await sink.keep({ id, lines: Array.from({ length: BATCH }, () => recorder.decision()) });
await sink.close();
process.stdout.write('done\n');
