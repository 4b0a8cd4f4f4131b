package dev.limasandbox.testbed;

import java.util.Map;

/**
 * What becomes of mounts whose paths have odd characters in them, with QEMU and 9p: lima.yaml takes them, {@code list}
 * shows them right, and then they reach QEMU's command line, cloud-config and fstab unquoted (all seen on 2.2.0).
 */
final class MountQuirks {
    private MountQuirks() {}

    /** A comma ends the value in QEMU's {@code -virtfs path=}. */
    static boolean stopsQemu(Config config) {
        return config.mounts().stream()
                .anyMatch(mount -> Maps.text(mount, "location", "").contains(","));
    }

    /** These make the cloud-config invalid YAML, so that there is no user; after a blank fstab is wrong from then on. */
    static boolean keepsSshAway(Config config, boolean firstBoot) {
        return config.mounts().stream()
                .map(mount -> Maps.text(mount, "mountPoint", ""))
                .anyMatch(path -> path.contains("[")
                        || path.contains("{")
                        || path.contains(" #")
                        || (!firstBoot && path.contains(" ")));
    }

    /** A mount point with a blank is an empty directory on the first boot. */
    static boolean isLost(Map<String, Object> mount) {
        return Maps.text(mount, "mountPoint", "").contains(" ");
    }
}
