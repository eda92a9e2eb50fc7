import { HOST_FILES, type HostFiles } from '../host-files.ts';

/** Whose GPUs these are: each kind has an environment variable of its own. */
export type GpuVendor = 'nvidia' | 'amd' | 'intel';

/** The GPUs that this process may use, as far as that can be told without a driver's library. */
export interface VisibleGpus {
  readonly vendor: GpuVendor;
  /** The variable that selects some of them. */
  readonly variable: string;
  /** What the variable lists, as a batch system set it; null where it is not set: all of them. */
  readonly listed: readonly string[] | null;
  /** How many there are; null where that is not known. */
  readonly count: number | null;
}

/**
 * The variables of each vendor, the one that counts first: the numbers of HIP are places in what
 * ROCR leaves, so that where both are set it is HIP's list that is selected from.
 */
const VARIABLES: Readonly<Record<GpuVendor, readonly [string, ...string[]]>> = {
  nvidia: ['CUDA_VISIBLE_DEVICES'],
  amd: ['HIP_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES'],
  intel: ['ZE_AFFINITY_MASK'],
};

/** Set where nothing is. */
const DEFAULT_VARIABLE: Readonly<Record<GpuVendor, string>> = {
  nvidia: 'CUDA_VISIBLE_DEVICES',
  amd: 'ROCR_VISIBLE_DEVICES',
  intel: 'ZE_AFFINITY_MASK',
};

const VENDORS: readonly GpuVendor[] = ['nvidia', 'amd', 'intel'];

/**
 * Finds out which GPUs are visible. Without a vendor, it is the one whose variable is set; where
 * none or several are (Slurm may set all), the one whose driver is there; else NVIDIA.
 */
export function visibleGpus(
  choice: GpuVendor | 'auto',
  env: Readonly<Record<string, string | undefined>>,
  source: HostFiles = HOST_FILES,
): VisibleGpus {
  const vendor = choice === 'auto' ? guessVendor(env, source) : choice;
  const set = VARIABLES[vendor].find((variable) => env[variable] !== undefined);
  if (set === undefined) {
    const count = countDevices(vendor, source);
    const variable = DEFAULT_VARIABLE[vendor];
    // A card of Intel may be two devices: which, its driver's settings say.
    const isKnown = count > 0 && vendor !== 'intel';
    return { vendor, variable, listed: null, count: isKnown ? count : null };
  }
  const listed = entries(env[set] ?? '');
  return { vendor, variable: set, listed, count: listed.length };
}

function guessVendor(
  env: Readonly<Record<string, string | undefined>>,
  source: HostFiles,
): GpuVendor {
  const named = VENDORS.filter((vendor) => {
    return VARIABLES[vendor].some((variable) => env[variable] !== undefined);
  });
  const [only] = named;
  if (only !== undefined && named.length === 1) return only;
  const among = named.length === 0 ? VENDORS : named;
  return among.find((vendor) => countDevices(vendor, source) > 0) ?? only ?? 'nvidia';
}

/** As the libraries do: what follows an entry that is no device does not count. */
function entries(text: string): readonly string[] {
  const all = text.split(',').map((entry) => entry.trim());
  const end = all.findIndex((entry) => entry === '' || entry === 'NoDevFiles' || entry === '-1');
  return end === -1 ? all : all.slice(0, end);
}

function countDevices(vendor: GpuVendor, { list, read }: HostFiles): number {
  if (vendor === 'nvidia') {
    const known = list('/proc/driver/nvidia/gpus').length;
    return known > 0 ? known : list('/dev').filter((name) => /^nvidia\d+$/.test(name)).length;
  }
  if (vendor === 'amd') {
    const nodes = '/sys/class/kfd/kfd/topology/nodes';
    return list(nodes).filter((node) => Number(read(`${nodes}/${node}/gpu_id`)) > 0).length;
  }
  const cards = list('/sys/class/drm').filter((name) => /^card\d+$/.test(name));
  const isIntel = (card: string): boolean => {
    return read(`/sys/class/drm/${card}/device/vendor`).trim() === '0x8086';
  };
  return cards.filter(isIntel).length;
}
