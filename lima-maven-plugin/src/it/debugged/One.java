class One {
    public static void main(String[] words) {
        String word = "seen from outside";
        System.out.println("TESTED " + word.length());
    }
}
