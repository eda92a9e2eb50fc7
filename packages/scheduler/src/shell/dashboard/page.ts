/** The one page of the dashboard. It asks for `api/v1/info` every second and shows it as text. */
export const PAGE_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>farm</title>
<link rel="stylesheet" href="status.css">
</head>
<body>
<header><h1>farm</h1><p id="scheduler">connecting…</p></header>
<main>
<h2>Tasks</h2>
<table id="tasks"><thead><tr></tr></thead><tbody><tr></tr></tbody></table>
<h2>Workers</h2>
<table id="workers">
<thead><tr><th>name</th><th>host</th><th>pid</th><th>slots</th><th>processing</th><th>executing</th>
<th>resources</th><th>memory</th><th>limit</th><th>results held</th><th>CPU</th><th>last heard</th></tr></thead>
<tbody></tbody>
</table>
</main>
<script src="status.js"></script>
</body>
</html>
`;

/** Style of the page. */
export const PAGE_CSS = `
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; }
header { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; white-space: nowrap; }
th { font-weight: 600; opacity: .7; }
#workers th:nth-child(-n+2), #workers td:nth-child(-n+2) { text-align: left; }
`;

/** Script of the page. Everything shown is set as text, never as markup. */
export const PAGE_JS = `
'use strict';
const byId = (id) => document.getElementById(id);
const bytes = (n) => {
  if (n === null) return 'none';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return (unit === 0 ? n : n.toFixed(2)) + ' ' + units[unit];
};
const row = (kind, texts) => {
  const tr = document.createElement('tr');
  for (const text of texts) {
    const cell = document.createElement(kind);
    cell.textContent = String(text);
    tr.append(cell);
  }
  return tr;
};
async function refresh() {
  try {
    const answer = await fetch('api/v1/info', { cache: 'no-store' });
    if (!answer.ok) throw new Error('HTTP ' + answer.status);
    const info = await answer.json();
    byId('scheduler').textContent = info.address + ' · ' + info.workers.length + ' workers · ' +
      info.clients + ' clients · started ' + new Date(info.startedMs).toLocaleString();
    const states = Object.keys(info.tasks).filter((name) => name !== 'forgotten');
    byId('tasks').tHead.replaceChildren(row('th', states));
    byId('tasks').tBodies[0].replaceChildren(row('td', states.map((name) => info.tasks[name])));
    byId('workers').tBodies[0].replaceChildren(...info.workers.map((worker) => {
      const m = worker.metrics;
      return row('td', [
        worker.name, worker.host, worker.pid, worker.nthreads, worker.processing,
        m === null ? '–' : m.executing,
        worker.resources.map(([name, amount]) => name + '=' + amount).join(' ') || '–',
        m === null ? '–' : bytes(m.rssBytes), bytes(worker.memoryLimitBytes),
        m === null ? '–' : bytes(m.storedBytes),
        m === null ? '–' : (m.cpu * 100).toFixed(0) + ' %',
        (worker.silentMs / 1000).toFixed(1) + ' s ago' +
          (worker.status === 'running' ? '' : ', ' + worker.status),
      ]);
    }));
  } catch (error) {
    byId('scheduler').textContent = 'no answer from the scheduler: ' + error.message;
  }
}
refresh();
setInterval(refresh, 1000);
`;
