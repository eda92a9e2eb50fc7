/** How often a worker with a memory limit looks at its resident memory. */
const SAMPLE_MS = 200;

/** Tells how much memory this process takes, again and again. Returns what ends that. */
export function watchMemory(tell: (rssBytes: number) => void): () => void {
  const timer = setInterval(() => tell(process.memoryUsage.rss()), SAMPLE_MS);
  timer.unref();
  return () => clearInterval(timer);
}
