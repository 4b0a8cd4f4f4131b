package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * The file {@code disk}: a true disk image of the right size (qcow2 for qemu, else raw), so that qemu-img can work on
 * it. The guest's files are not in it, see {@link Guest}.
 */
final class Disk {
    private static final int MAGIC = 0x514649fb;
    private static final int CLUSTER = 1 << 16;
    private static final long PER_L1_ENTRY = (long) CLUSTER / 8 * CLUSTER;
    private static final int SIZE_AT = 24;
    private static final int L1_SIZE_AT = 36;

    private Disk() {}

    /** Makes the disk of a new instance, from the image where that is a file, else empty. */
    static void make(Instance instance, Config config) {
        Map<String, Object> image = image(config);
        String location = Maps.text(image, "location", "");
        Map<String, String> fields = Map.of("arch", config.text("arch"), "location", location, "digest",
                Maps.text(image, "digest", ""));
        Log.info("Attempting to download the image", fields);
        Path disk = instance.file("disk");
        long wanted = config.bytes("disk");
        if (location.matches("[a-z]+://.*")) {
            create(disk, wanted, config.text("vmType"));
            Log.info("Downloaded the image from `" + location + "`");
            return;
        }
        Path source = Path.of(location);
        if (!Files.exists(source)) {
            throw new Fatal("stat " + location + ": no such file or directory");
        }
        Sh.copyTree(source, disk);
        Sh.tryRun("chmod", "644", disk.toString());
        Log.info("Downloaded the image from `" + location + "`");
        grow(instance, wanted);
    }

    private static Map<String, Object> image(Config config) {
        return config.images().stream()
                .filter(image -> Maps.text(image, "arch", config.text("arch")).equals(config.text("arch")))
                .findFirst()
                .orElseThrow(() -> new Fatal(
                        "failed to download the image: no image for arch `" + config.text("arch") + "`"));
    }

    /** Makes the disk as large as lima.yaml has it, as every start does; smaller is refused. */
    static void grow(Instance instance, long wanted) {
        Path disk = instance.file("disk");
        long size = size(disk);
        if (size > wanted) {
            throw new Fatal("field `disk`: shrinking the disk (" + Size.show(size) + " --> " + Size.show(wanted)
                    + ") is not supported");
        }
        if (size < wanted) {
            Log.info("Resize instance " + instance.name + "'s disk from " + Size.show(size) + " to "
                    + Size.show(wanted));
            if (Sh.tryRun("qemu-img", "resize", "-q", disk.toString(), String.valueOf(wanted))
                    .code() != 0) {
                resizeOwn(disk, wanted);
            }
        }
    }

    private static long size(Path disk) {
        try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "r")) {
            if (file.length() < CLUSTER || file.readInt() != MAGIC) {
                return file.length();
            }
            file.seek(SIZE_AT);
            return file.readLong();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void create(Path disk, long size, String vmType) {
        try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
            if (!vmType.equals("qemu")) {
                file.setLength(size);
                return;
            }
            // Four clusters: header, refcount table, one refcount block, an L1 table that holds nothing.
            file.setLength(4L * CLUSTER);
            file.writeInt(MAGIC);
            file.writeInt(3);
            file.writeLong(0);
            file.writeInt(0);
            file.writeInt(16);
            file.writeLong(size);
            file.writeInt(0);
            file.writeInt(l1Entries(size));
            file.writeLong(3L * CLUSTER);
            file.writeLong(CLUSTER);
            file.writeInt(1);
            file.writeInt(0);
            file.writeLong(0);
            file.seek(96);
            file.writeInt(4);
            file.writeInt(104);
            file.seek(CLUSTER);
            file.writeLong(2L * CLUSTER);
            file.seek(2L * CLUSTER);
            for (int cluster = 0; cluster < 4; cluster++) {
                file.writeShort(1);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Without qemu-img: a disk that we made has room for a longer L1 table. */
    private static void resizeOwn(Path disk, long size) {
        try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
            if (file.readInt() == MAGIC) {
                file.seek(SIZE_AT);
                file.writeLong(size);
                file.seek(L1_SIZE_AT);
                file.writeInt(l1Entries(size));
            } else {
                file.setLength(size);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static int l1Entries(long size) {
        return (int) ((size + PER_L1_ENTRY - 1) / PER_L1_ENTRY);
    }
}
