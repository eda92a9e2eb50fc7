import { createServer } from 'node:http';

import { silentLogger } from '@farm/protocol';
import type { SchedulerInfo } from '@farm/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { SchedulerCore } from '../../src/core/index.ts';
import { Dashboard } from '../../src/shell/dashboard/dashboard.ts';

// Goal: the page and its data are there for who has the token, and for nobody else.
const token = 'the-token';
const core = new SchedulerCore({ id: 's', address: 'tcp://127.0.0.1:1', startedMs: 0 });
let dashboard: Dashboard;
let base: string;

async function listen(port: number): Promise<Dashboard> {
  return Dashboard.listen({
    host: '127.0.0.1',
    port,
    token,
    info: () => core.info(0),
    logger: silentLogger,
  });
}

async function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${base}${path}`, { headers, redirect: 'manual' });
}

const bearer = { authorization: `Bearer ${token}` };

beforeAll(async () => {
  dashboard = await listen(0);
  base = `http://127.0.0.1:${dashboard.port}`;
});

afterAll(async () => dashboard.close());

const routes = ['/health', '/status', '/api/v1/info', '/api/v1/counts', '/api/v1/workers', '/x'];

test.each(routes)('%s asks for the token', async (path) => {
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { cookie: 'farm-token=wrong' }]) {
    const answer = await get(path, headers);
    expect(answer.status).toBe(401);
    expect(await answer.text()).not.toContain(token);
  }
  expect((await get(`${path}?token=wrong`)).status).toBe(401);
});

test('the token opens health, data and page', async () => {
  expect(await (await get('/health', bearer)).text()).toBe('ok\n');
  const info = (await (await get('/api/v1/info', bearer)).json()) as SchedulerInfo;
  expect(info).toMatchObject({ type: 'Scheduler', address: 'tcp://127.0.0.1:1', workers: [] });
  expect(await (await get('/api/v1/workers', bearer)).json()).toEqual([]);
  const counts = (await (await get('/api/v1/counts', bearer)).json()) as Record<string, number>;
  expect(counts).toMatchObject({ workers: 0, threads: 0, processing: 0, memory: 0 });
  const page = await get('/status', bearer);
  expect(page.headers.get('content-type')).toContain('text/html');
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
});

test('a token in the URL becomes a cookie and leaves the URL', async () => {
  const answer = await get(`/status?token=${token}`);
  expect(answer.status).toBe(303);
  expect(answer.headers.get('location')).toBe('status');
  const cookie = answer.headers.get('set-cookie') ?? '';
  expect(cookie).toContain('HttpOnly');
  expect((await get('/status', { cookie: cookie.split(';', 1)[0] ?? '' })).status).toBe(200);
});

test('the page names no absolute address, so that it works through a tunnel', async () => {
  const page = await (await get('/status', bearer)).text();
  const script = await (await get('/status.js', bearer)).text();
  expect(page).not.toMatch(/(?:src|href)="(?:\/|http)/);
  expect(script).not.toMatch(/fetch\('(?:\/|http)/);
});

test('unknown paths and methods that could change something are refused', async () => {
  expect((await get('/nothing', bearer)).status).toBe(404);
  expect((await get('/../../etc/passwd', bearer)).status).toBe(404);
  const post = await fetch(`${base}/api/v1/info`, { method: 'POST', headers: bearer });
  expect(post.status).toBe(405);
});

test('a busy port moves the dashboard to the next one', async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  const bound = blocker.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  await using moved = await listen(port);
  expect(moved.port).toBeGreaterThan(port);
  blocker.close();
});
