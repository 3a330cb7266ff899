import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { checks, decode, batches, filters, SERVICE } from '/work/main/bench/messages.ts';
import { rssBytes, runLoad, startNoop, startPostern, withDirectory } from '/work/main/bench/servers.ts';
await withDirectory(async (dir) => {
  const p = await startPostern(dir, 'file');
  const same = (b: Buffer) => b;
  const c = new Client(p.address, credentials.createInsecure());
  const call = (m: string, b: Buffer) => new Promise<Buffer>((ok, no) => c.makeUnaryRequest(`${SERVICE}/${m}`, same, same, b, (e, v) => e ? no(e) : ok(v!)));
  const a = await call('Check', checks()[0]!);
  console.log(checks()[0]!.length, a.length, decode('Check', a));
  const f = await call('Filter', filters(1000)[0]!);
  console.log((decode('Filter', f) as any).allowed_indexes.length, f.length, filters(1000)[0]!.length);
  const b = await call('BatchCheck', batches(50)[0]!);
  writeFileSync(join(dir, 'answers.json'), JSON.stringify({ unary: { [`${SERVICE}/Check`]: a.toString('base64'), [`${SERVICE}/BatchCheck`]: b.toString('base64'), [`${SERVICE}/Filter`]: f.toString('base64') }, stream: { [`${SERVICE}/CheckStream`]: a.toString('base64') } }));
  c.close();
  await p.stop();
  const r = (n: string, bs: readonly Buffer[]) => { writeFileSync(join(dir, n), JSON.stringify(bs.map((x) => x.toString('base64')))); return join(dir, n); };
  const req = { Check: r('c', checks()), BatchCheck: r('b', batches(50)), Filter: r('f', filters(1000)) };
  const servers = { noop: await startNoop(join(dir, 'answers.json')), file: await startPostern(dir, 'file'), off: await startPostern(dir, 'off') };
  await new Promise((d) => setTimeout(d, 1000));
  for (const [n, s] of Object.entries(servers)) console.log(n, 'idle', (rssBytes(s.pid) / 1e6).toFixed(1));
  for (const [m, path, requests, inFlight] of [['Check', 'Check', req.Check, 32], ['Check', 'Check', req.Check, 64], ['Stream', 'CheckStream', req.Check, 64], ['Batch', 'BatchCheck', req.BatchCheck, 8], ['Filter', 'Filter', req.Filter, 4]] as const)
    for (let round = 0; round < 2; round++)
      for (const [n, s] of Object.entries(servers)) {
        const x = await runLoad(s, { address: s.address, path: `${SERVICE}/${path}`, requests, connections: 4, inFlight, warmUpCalls: m.startsWith('Ch') || m === 'Stream' ? 10000 : 400, ms: 1500, stream: m === 'Stream' });
        console.log(m, inFlight, n, `${(x.calls / x.seconds).toFixed(0)}/s p50 ${x.p50.toFixed(2)} p99 ${x.p99.toFixed(2)} p999 ${x.p999.toFixed(2)} cpu ${x.serverCpuUs.toFixed(0)}us load ${(x.serverLoad*100).toFixed(0)}% gen ${(x.loadLoad*100).toFixed(0)}% rss ${(rssBytes(s.pid) / 1e6).toFixed(1)}`);
      }
  for (const s of Object.values(servers)) await s.stop();
});
process.exit(0);
