package dev.limasandbox.testbed;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Lets a copy of the file {@code disk} be what it is on Lima, a copy of the guest's files, though these do not lie in
 * it: the disk bears a number, in a gap that qemu-img leaves alone, and the files are kept under that number as long as
 * a copy of the disk with it lies in {@code $LIMA_HOME/_sandbox/snapshots}. Where the disk is another one than the files
 * fit to, because a copy was put in its place, the files of that one are put in place too.
 */
final class DiskFiles {
    private static final int AT = 60 << 10;
    private static final int LENGTH = 36;

    private final Path disk;
    private final Path state;
    private final Path loaded;

    DiskFiles(Instance instance) {
        disk = instance.file("disk");
        state = Guest.stateOf(instance.name);
        loaded = state.resolve("loaded");
    }

    /** Makes the files fit the disk; to be called before they are copied, rolled back or, BOOTS, written. */
    void settle(boolean boots) {
        String fits = Sh.readOr(loaded, "");
        String there = number(disk);
        Set<String> copied = copied();
        if (copied.contains(fits) && !Files.exists(kept(fits))) {
            copy(state, kept(fits));
        }
        if (!there.equals(fits) && Files.exists(kept(there).resolve("disk"))) {
            copy(kept(there), state);
        }
        if (copied.contains(there) || boots && (there.isEmpty() || !there.equals(fits))) {
            there = UUID.randomUUID().toString();
            number(disk, there);
        }
        Sh.write(loaded, there, "rw-------");
        for (String old : list(all())) {
            if (!copied.contains(old)) {
                Sh.remove(kept(old));
            }
        }
    }

    private static Path all() {
        return Home.standIn().resolve("_disks");
    }

    private static Path kept(String number) {
        return all().resolve(number.isEmpty() ? "none" : number);
    }

    private static void copy(Path from, Path to) {
        for (String part : new String[]{"disk", "snapshots"}) {
            Sh.remove(to.resolve(part));
            if (Files.exists(from.resolve(part))) {
                Sh.copyTree(from.resolve(part), to.resolve(part));
            }
        }
    }

    private static String[] list(Path directory) {
        String[] names = directory.toFile().list();
        return names == null ? new String[0] : names;
    }

    /** The numbers of all copies that there are. */
    private static Set<String> copied() {
        Path snapshots = Home.directory().resolve("_sandbox/snapshots");
        if (!Files.exists(snapshots)) {
            return Set.of();
        }
        try (Stream<Path> files = Files.walk(snapshots)) {
            return files.filter(file -> file.endsWith("disk")).map(DiskFiles::number)
                    .filter(number -> !number.isEmpty()).collect(Collectors.toSet());
        } catch (IOException | UncheckedIOException e) {
            throw new Fatal("stand-in: " + e.getMessage());
        }
    }

    private static String number(Path disk) {
        try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "r")) {
            byte[] bytes = new byte[LENGTH];
            file.seek(AT);
            file.readFully(bytes);
            return bytes[0] == 0 ? "" : new String(bytes, StandardCharsets.US_ASCII);
        } catch (IOException e) {
            return "";
        }
    }

    private static void number(Path disk, String number) {
        try (RandomAccessFile file = new RandomAccessFile(disk.toFile(), "rw")) {
            file.seek(AT);
            file.write(number.getBytes(StandardCharsets.US_ASCII));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
